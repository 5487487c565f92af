use resilient_runtime::resilient;

#[resilient(load_shed("x", share(low = 0.6, normal = 0.4, high = 0.3)))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
