use resilient_runtime::resilient;

#[resilient(timeout("t", total = "40ms", adaptive))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
