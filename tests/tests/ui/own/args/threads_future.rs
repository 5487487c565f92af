use resilient_runtime::resilient;

#[resilient(bulkhead("x", threads = 2))]
fn f(x: u32) -> impl Future<Output = Option<u32>> {
    std::future::ready(Some(x))
}

#[resilient(bulkhead("x", threads = 2))]
fn fine(x: u32) -> impl Future<Output = Option<u32>> {
    async move { Some(x) }
}

fn main() {}
