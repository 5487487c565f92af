use resilient_runtime::resilient;

#[resilient(coalesce(key = id, max_flights = 0))]
fn none(id: u32) -> Option<u32> {
    Some(id)
}

#[resilient(coalesce(key = id, max_wait = "0s"))]
fn no_wait(id: u32) -> Option<u32> {
    Some(id)
}

#[resilient(coalesce(key = id, ttl = "1s"))]
fn unknown(id: u32) -> Option<u32> {
    Some(id)
}

fn main() {}
