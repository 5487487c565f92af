use resilient_runtime::resilient;

#[resilient(circuit_breaker = "x")]
fn f() -> Option<usize> {
    let mut v = vec![1];
    let first = &v[0];
    v.push(2);
    Some(*first)
}

fn main() {}
