use std::cell::RefMut;

use resilient_runtime::resilient;

struct S(std::cell::RefCell<u32>);

impl S {
    #[resilient(retry(max = 3))]
    fn f(&mut self) -> Option<RefMut<'_, u32>> {
        Some(self.0.borrow_mut())
    }
}

fn main() {}
