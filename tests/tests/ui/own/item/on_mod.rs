use resilient::resilient;

#[resilient(retry(max = 3))]
mod m {}

fn main() {}
