use resilient_runtime::resilient;

#[resilient(bulkhead("x", threads = 2), hedge(after = "1ms"), idempotent)]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
