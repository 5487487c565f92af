use resilient_runtime::resilient;

#[resilient(timeout = 2)]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
