use resilient::resilient;

#[resilient(retry(max = 3))]
fn f() -> ! {
    panic!()
}

fn main() {}
