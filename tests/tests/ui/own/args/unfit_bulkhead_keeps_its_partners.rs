use resilient_runtime::resilient;

#[resilient(bulkhead = 3, priority = high, map_err = |_| ())]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
