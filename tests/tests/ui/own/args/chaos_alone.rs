use resilient_runtime::resilient;

#[resilient(chaos = off)]
fn f() -> Option<u32> {
    Some(1)
}

fn main() {}
