use resilient_runtime::resilient;

#[resilient(timeout(attempt = "2m", read = "90s"))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
