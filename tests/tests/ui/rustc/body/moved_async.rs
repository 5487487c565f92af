use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
async fn f(payload: String) -> Option<usize> {
    Some(eat(payload).await)
}

async fn eat(x: String) -> usize {
    x.len()
}

fn main() {}
