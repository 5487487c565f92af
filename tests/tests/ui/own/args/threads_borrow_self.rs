use std::sync::Arc;

use resilient_runtime::resilient;

struct S;
impl S {
    #[resilient(bulkhead("x", threads = 2))]
    fn f(&self) -> Option<u32> {
        Some(1)
    }

    #[resilient(bulkhead("x", threads = 2), retry(max = 1))]
    fn g(self: &Arc<Self>) -> Option<u32> {
        let _ = self;
        Some(1)
    }
}

#[async_trait::async_trait]
trait T {
    #[resilient(bulkhead("x", threads = 2))]
    async fn h(&self) -> Option<u32> {
        Some(1)
    }
}

fn main() {}
