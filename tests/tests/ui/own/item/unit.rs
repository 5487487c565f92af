use resilient::resilient;

#[resilient(retry(max = 3))]
fn f() {}

fn main() {}
