use resilient_runtime::resilient;

#[resilient(timeout("t", adaptive(percentile = 100, factor = 0)))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
