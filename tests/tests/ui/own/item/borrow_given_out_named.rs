use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
fn f<'a>(v: &'a mut Vec<u8>, _k: u32) -> Option<&'a mut u8> {
    v.last_mut()
}

fn main() {}
