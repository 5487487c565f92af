use resilient_runtime::resilient;

#[resilient(retry(max = 3))]
#[track_caller]
fn below() -> Option<u32> {
    Some(std::panic::Location::caller().line())
}

#[track_caller]
#[resilient(retry(max = 3))]
fn above() -> Option<u32> {
    Some(std::panic::Location::caller().line())
}

fn main() {}
