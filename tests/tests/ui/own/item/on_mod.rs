use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
mod m {}

fn main() {}
