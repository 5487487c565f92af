use resilient_runtime::resilient;

struct S;

impl S {
    #[resilient(hedge(after = "50ms"), idempotent)]
    async fn f(&mut self, x: &mut u32) -> Option<u32> {
        Some(*x)
    }
}

fn main() {}
