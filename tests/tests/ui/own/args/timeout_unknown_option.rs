use resilient_runtime::resilient;

#[resilient(timeout(totl = "1s"))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
