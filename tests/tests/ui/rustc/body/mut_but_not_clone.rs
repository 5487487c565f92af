use resilient_runtime::resilient;

struct Token(u32);

#[resilient(retry(max = 3))]
fn f(mut token: Token) -> Option<u32> {
    token.0 += 1;
    Some(token.0)
}

fn main() {}
