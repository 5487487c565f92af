use resilient_runtime::resilient;

#[resilient(fallback(replica(NAMES, key = id)))]
fn f(id: u32) -> Option<u32> {
    Some(id)
}

fn main() {}
