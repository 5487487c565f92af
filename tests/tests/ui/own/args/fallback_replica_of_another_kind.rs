use resilient_runtime::resilient;

#[resilient(fallback(replica(id.to_string(), key = id)))]
async fn f(id: u32) -> Option<u32> {
    Some(id)
}

fn main() {}
