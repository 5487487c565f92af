use std::sync::Arc;

use resilient_runtime::resilient;

struct S;
impl S {
    #[resilient(bulkhead("x", threads = 2), retry(max = 1))]
    fn f(self: Arc<Self>) -> Option<u32> {
        Some(Arc::strong_count(&self) as u32)
    }

    #[resilient(bulkhead("x", threads = 2), retry(max = 1))]
    fn fine(self: Arc<Self>) -> Option<u32> {
        Some(1)
    }

    #[resilient(bulkhead("x", threads = 2), clone(self))]
    fn none() -> Option<u32> {
        Some(1)
    }
}

fn main() {}
