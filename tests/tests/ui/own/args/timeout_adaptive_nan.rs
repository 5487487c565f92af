use resilient_runtime::resilient;

#[resilient(timeout("t", adaptive(percentile = f64::NAN, factor = NaN)))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
