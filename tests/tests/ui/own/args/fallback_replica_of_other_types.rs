use resilient_runtime::fallback::{NoAnswer, ReplicaSource};
use resilient_runtime::resilient;

struct Copies;

impl ReplicaSource for Copies {
    type Value = u32;

    async fn read_replica(&self, _: &str) -> Result<u32, NoAnswer> {
        Ok(7)
    }
}

struct User;

#[resilient(fallback(replica(Copies, key = user)))]
async fn f(user: User) -> Option<u32> {
    None
}

#[resilient(fallback(replica(Copies, key = id)))]
async fn g(id: u32) -> Option<String> {
    Some(id.to_string())
}

fn main() {}
