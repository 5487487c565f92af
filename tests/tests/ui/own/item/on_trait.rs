use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
trait T {
    fn f(&self);
}

fn main() {}
