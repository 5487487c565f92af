use resilient_runtime::resilient;

#[resilient(timeout = "0s")]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
