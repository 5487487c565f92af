use resilient::resilient;

#[resilient(retry(max = 3))]
struct S;

fn main() {}
