use resilient_runtime::resilient;

struct Token;

#[resilient(retry(max = 3))]
fn f(token: Token) -> Option<u32> {
    drop(token);
    Some(1)
}

fn main() {}
