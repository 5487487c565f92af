use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
fn f(x: &str) -> Result<u32, std::num::ParseIntError> {
    x.parse()
}

fn main() {}
