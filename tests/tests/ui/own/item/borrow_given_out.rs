use resilient_runtime::resilient;

struct S(Vec<u8>);

impl S {
    #[resilient(retry(max = 3))]
    fn f(&mut self) -> Option<&mut u8> {
        self.0.last_mut()
    }
}

fn main() {}
