use resilient::resilient;

#[resilient(bulkhead("x", threads = 2))]
fn f(text: &str, list: Vec<&u8>, fine: &'static str) -> Option<usize> {
    Some(text.len() + list.len() + fine.len())
}

fn main() {}
