use std::io;

use futures_util::{Stream, StreamExt};
use resilient_runtime::{deadline, resilient};

#[resilient(timeout("gateway", read = "1s"))]
async fn total(mut numbers: impl Stream<Item = u32> + Unpin) -> io::Result<u32> {
    let mut total = 0;
    while let Some(number) = deadline::read(numbers.next()).await {
        total += number;
    }
    Ok(total)
}

fn main() {}
