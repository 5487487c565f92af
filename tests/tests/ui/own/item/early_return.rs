use std::io;
use std::pin::Pin;

use resilient_runtime::resilient;

type Fut = Pin<Box<dyn Future<Output = io::Result<u32>> + Send>>;

fn fails() -> io::Result<u32> {
    Err(io::ErrorKind::ConnectionRefused.into())
}

#[resilient(retry(max = 2), circuit_breaker = "early", fallback = Ok(7))]
fn aliased(closed: bool) -> Fut {
    if closed {
        return Box::pin(async { fails() });
    }
    Box::pin(async { fails() })
}

#[resilient(retry(max = 2))]
fn written_out(closed: bool) -> Pin<Box<dyn Future<Output = io::Result<u32>>>> {
    let all = [1, 2].map(|it| {
        return it;
    });
    let Some(_) = all.first().filter(|_| !closed) else { return Box::pin(async { fails() }) };
    Box::pin(async {
        if true {
            return fails();
        }
        fails()
    })
}

#[resilient(circuit_breaker = "early")]
fn in_a_macro(closed: bool) -> Fut {
    dbg!(if closed { return Box::pin(async { fails() }) });
    Box::pin(async { fails() })
}

#[resilient(circuit_breaker = "early")]
fn opaque(closed: bool) -> impl Future<Output = io::Result<u32>> {
    if closed {
        return std::future::ready(fails());
    }
    std::future::ready(fails())
}

fn main() {}
