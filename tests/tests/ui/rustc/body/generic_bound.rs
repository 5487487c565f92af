use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f<T>(x: T) -> Option<String> {
    Some(x.to_string())
}

fn main() {}
