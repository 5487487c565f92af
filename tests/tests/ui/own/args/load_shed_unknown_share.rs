use resilient_runtime::resilient;

#[resilient(load_shed("x", share(critical = 0.5)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
