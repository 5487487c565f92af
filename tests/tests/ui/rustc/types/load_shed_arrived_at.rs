use resilient_runtime::{Rejection, resilient};

#[resilient(load_shed("x", arrived_at = std::time::Instant::now()))]
fn f(x: u32) -> Result<u32, Rejection> {
    Ok(x)
}

fn main() {}
