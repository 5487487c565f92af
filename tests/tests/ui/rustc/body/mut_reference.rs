use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f(mut x: &mut Vec<u8>) -> Option<u8> {
    let y = &mut vec![1];
    x = y;
    x.pop()
}

fn main() {}
