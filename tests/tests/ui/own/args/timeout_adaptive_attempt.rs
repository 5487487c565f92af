use resilient_runtime::resilient;

#[resilient(timeout("t", attempt = "10ms", adaptive(min = "50ms", max = "1s")))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
