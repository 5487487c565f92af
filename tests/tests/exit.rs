//! A process ends when its `main` does, whatever our threads do.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use resilient_runtime::{Component, Registry, Rejection, bulkhead, timeout};

const CHILD: &str = "RESILIENT_TEST_CHILD";

/// Run by the test below in a process of its own: leaves a call that hangs for ever.
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
    let begins = Arc::clone(&started);
    let late = std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            pipeline.request().call_in_threads(move || -> Result<(), Rejection> {
                begins.wait();
                loop {
                    std::thread::park();
                }
            })
        });
        started.wait();
        call.join().unwrap()
    });
    assert!(late.is_err());
    println!("left, with {} abandoned", registry.bulkhead("b").stats().pool.unwrap().abandoned);
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
                panic!("it does not end");
            }
            None => std::thread::yield_now(),
        }
    };
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    assert!(status.success() && said.contains("left, with 1 abandoned"), "{status}: {said}");
}
