use resilient::resilient;

#[resilient(bulkhead("x", threads = 2))]
async fn f(x: u32) -> Option<u32> {
    let _fine = async { std::future::ready(1).await };
    Some(std::future::ready(x).await)
}

fn main() {}
