use resilient_runtime::resilient;

#[resilient(timeout("t", adaptive(min = "2s", max = "1s")))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
