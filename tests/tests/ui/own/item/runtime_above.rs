use resilient_runtime::{Rejection, resilient};

#[tokio::main]
#[resilient(timeout = "1s")]
async fn main() -> Result<(), Rejection> {
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
#[resilient(retry(max = 3))]
async fn another() -> Result<(), Rejection> {
    Ok(())
}
