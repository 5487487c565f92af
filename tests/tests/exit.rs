//! The process exits when `main` returns, even if threads of the library hang.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use resilient_runtime::{Component, Registry, Rejection, bulkhead, timeout};

const CHILD: &str = "RESILIENT_TEST_CHILD";

/// The child process of the test below: abandons a call that hangs forever.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let registry = Registry::new();
    registry.bulkhead("b").reconfigure(bulkhead::Config::default().threads(2)).unwrap();
    let limit = timeout::Config::default().total(Duration::from_millis(20));
    registry.timeout("t").reconfigure(limit).unwrap();
    let pipeline = registry.pipeline("op").bulkhead("b").timeout("t").build();
    let started = Arc::new(std::sync::Barrier::new(2));
    let running = Arc::clone(&started);
    let late = std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            pipeline.request().call_in_threads(move || -> Result<(), Rejection> {
                running.wait();
                loop {
                    std::thread::park();
                }
            })
        });
        started.wait();
        call.join().unwrap()
    });
    assert!(late.is_err());
    println!("returned with {} abandoned", registry.bulkhead("b").stats().pool.unwrap().abandoned);
}

#[test]
fn a_thread_that_hangs_does_not_keep_the_process_alive() {
    // T75
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > patience => {
                child.kill().unwrap();
                panic!("the process does not exit");
            }
            None => std::thread::yield_now(),
        }
    };
    let mut output = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut output).unwrap();
    assert!(status.success() && output.contains("returned with 1 abandoned"), "{status}: {output}");
}
