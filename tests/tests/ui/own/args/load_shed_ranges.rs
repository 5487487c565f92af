use resilient_runtime::resilient;

#[resilient(load_shed(
    "x",
    max_in_flight = 0,
    target_delay = "2h",
    target_latency = "0s",
    interval = "10us",
    retry_after = 5,
    adaptive = "no",
    share(low = 0, normal = 1.5),
    throttle(factor = 0.5, window = "1ms", floor = 0.001, min_calls = 0),
))]
fn f(x: u32) -> Option<u32> {
    Some(x)
}

fn main() {}
