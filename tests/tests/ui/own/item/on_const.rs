use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
const S: u32 = 1;

fn main() {}
