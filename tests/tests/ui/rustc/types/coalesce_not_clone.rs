use resilient_runtime::{Rejection, resilient};

struct NotClone;

#[resilient(coalesce(key = id))]
fn value(id: u32) -> Result<NotClone, Rejection> {
    Ok(NotClone)
}

#[derive(Debug)]
struct Bad;

impl From<Rejection> for Bad {
    fn from(_: Rejection) -> Self {
        Self
    }
}

#[resilient(coalesce(key = id))]
async fn error(id: u32) -> Result<u32, Bad> {
    Ok(id)
}

#[resilient(coalesce(key = id), fallback = Ok(1))]
async fn foreign_error(id: u32) -> std::io::Result<u32> {
    Ok(id)
}

fn main() {}
