use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
static S: u32 = 1;

fn main() {}
