use resilient_runtime::resilient;

#[resilient(timeout("t", adaptive(quantile = 95, facter = 2)))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
