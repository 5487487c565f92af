use resilient_runtime::resilient;

fn main() {
    #[resilient(retry(max = 3))]
    let _f = || Some(1);
}
