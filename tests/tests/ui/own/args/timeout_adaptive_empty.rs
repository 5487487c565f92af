use resilient_runtime::resilient;

#[resilient(timeout(adaptive()))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
