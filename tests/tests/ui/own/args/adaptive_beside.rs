use resilient_runtime::resilient;

#[resilient(timeout(attempt = adaptive(percentile = 95), adaptive))]
async fn twice() -> Option<u32> {
    None
}

#[resilient(timeout(attempt = adaptive(percentile = 200)))]
async fn percentile() -> Option<u32> {
    None
}

#[resilient(timeout(attempt = adaptive(initial = "500ms")))]
async fn initial() -> Option<u32> {
    None
}

#[resilient(timeout(percentile = 95))]
async fn loose() -> Option<u32> {
    None
}

#[resilient(timeout = adaptive(percentile = 95))]
async fn total() -> Option<u32> {
    None
}

#[resilient(bulkhead("x", max_concurrent = adaptive(maximum = 5)))]
async fn bulkhead() -> Option<u32> {
    None
}

fn main() {}
