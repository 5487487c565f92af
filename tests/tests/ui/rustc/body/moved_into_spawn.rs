use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
async fn f(payload: String) -> Option<usize> {
    tokio::spawn(async move { payload.len() }).await.ok()
}

fn main() {}
