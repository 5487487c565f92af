use resilient_runtime::resilient;

#[resilient(circuit_breaker("x", store = "shared", quorum = 3, quorum_share = 0.5))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
