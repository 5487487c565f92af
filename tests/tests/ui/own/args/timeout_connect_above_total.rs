use resilient_runtime::resilient;

#[resilient(timeout(total = "1s", connect = "2s"))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
