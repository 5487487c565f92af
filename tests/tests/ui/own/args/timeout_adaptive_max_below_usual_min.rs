use resilient_runtime::resilient;

#[resilient(timeout("t", adaptive(max = "10ms")))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
