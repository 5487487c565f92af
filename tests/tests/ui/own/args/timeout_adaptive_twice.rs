use resilient_runtime::resilient;

#[resilient(timeout("t", adaptive, adaptive(max = "1s")))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
