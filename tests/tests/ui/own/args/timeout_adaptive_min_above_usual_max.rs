use resilient_runtime::resilient;

#[resilient(timeout("t", total = "2m", adaptive(min = "40s")))]
async fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
