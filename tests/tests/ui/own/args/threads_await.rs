use std::future::ready;

use resilient_runtime::resilient;

#[resilient(bulkhead("x", threads = 2))]
async fn f(x: u32) -> Option<u32> {
    async fn fine(x: u32) -> u32 {
        ready(x).await
    }
    let _fine = (async { ready(1).await }, async |x: u32| fine(x).await, || async move { ready(1).await });
    Some(ready(x).await)
}

#[resilient(bulkhead("x", threads = 2))]
async fn in_a_macro(x: u32) -> Option<u32> {
    drop(vec![async move { ready(x).await }]);
    assert_eq!(ready(x).await, 2);
    Some(x)
}

fn main() {}
