use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
enum S {}

fn main() {}
