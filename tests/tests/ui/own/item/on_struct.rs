use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
struct S;

fn main() {}
