use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
async fn f<'a, 'b>(x: &'a str, _y: &'b str) -> Option<&'b str> {
    Some(x)
}

fn main() {}
