use resilient_runtime::resilient;

struct S;

#[async_trait::async_trait]
trait T {
    async fn f(&self, payload: String) -> Option<u32>;
}

#[async_trait::async_trait]
impl T for S {
    #[resilient(retry(max = 3))]
    async fn f(&self, payload: String) -> Option<u32> {
        drop(payload);
        Some(1)
    }
}

fn main() {}
