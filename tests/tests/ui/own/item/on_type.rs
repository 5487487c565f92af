use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
type S = u32;

fn main() {}
