use resilient_runtime::resilient;

#[resilient(timeout("t", adaptive(min = 50, max = "forever")))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
