use resilient_runtime::resilient;

#[derive(Clone)]
struct S(u32);

impl S {
    #[resilient(retry(max = 3))]
    fn f(mut self) -> Option<u32> {
        self.0 += 1;
        Some(self.0)
    }
}

fn main() {}
