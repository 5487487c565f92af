use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
async fn f(x: u32) -> Option<u32> {
    x + 1
}

fn main() {}
