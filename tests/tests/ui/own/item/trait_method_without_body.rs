use resilient_runtime::resilient;

trait T {
    #[resilient(retry(max = 3))]
    fn f(&self) -> Option<u32>;
}

fn main() {}
