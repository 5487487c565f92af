use resilient_runtime::resilient;

struct S;

#[resilient(retry(max = 3))]
impl S {
    fn f(&self) {}
}

fn main() {}
