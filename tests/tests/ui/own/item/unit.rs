use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f() {}

fn main() {}
