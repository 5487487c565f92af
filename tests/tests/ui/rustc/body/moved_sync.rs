use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f(payload: String) -> Option<usize> {
    Some(eat(payload))
}

fn eat(x: String) -> usize {
    x.len()
}

fn main() {}
