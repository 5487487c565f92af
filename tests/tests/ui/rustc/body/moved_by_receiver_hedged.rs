use resilient_runtime::{Rejection, resilient};

struct Request(String);

impl Request {
    async fn send(self) -> Result<u32, Rejection> {
        Ok(1)
    }
}

#[resilient(hedge(after = "50ms"), idempotent)]
async fn hedged(request: Request) -> Result<u32, Rejection> {
    request.send().await
}

#[resilient(retry(max = 2), hedge(after = "50ms"), idempotent)]
async fn both(request: Request, name: String) -> Result<u32, Rejection> {
    assert!(!name.is_empty());
    request.send().await
}

fn main() {}
