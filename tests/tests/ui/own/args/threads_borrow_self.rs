use resilient::resilient;

struct S;
impl S {
    #[resilient(bulkhead("x", threads = 2))]
    fn f(&self) -> Option<u32> {
        Some(1)
    }
}

fn main() {}
