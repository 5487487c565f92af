use resilient_runtime::resilient;

#[resilient(circuit_breaker = T::NAME)]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
