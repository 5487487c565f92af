use resilient::resilient;

#[resilient(retry(max = 3))]
enum S {}

fn main() {}
