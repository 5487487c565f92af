use resilient_runtime::resilient;

#[derive(Debug)]
struct Mine;

#[resilient(load_shed = "x")]
fn f(x: u32) -> Result<u32, Mine> {
    if x > 0 { Ok(x) } else { Err(Mine) }
}

fn main() {}
