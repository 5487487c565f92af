//! Protection without the attribute: nested components in any order, and a pipeline in the fixed order.
//!
//! Both use the same named components, so that they share their state.
//!
//!     cargo run --example without_attribute

use std::io;
use std::time::Duration;

use resilient_runtime::fallback::{Chain, Level};
use resilient_runtime::{Component, Pipeline, registry, retry};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (bulkhead, breaker, retry) =
        (registry().bulkhead("stock"), registry().circuit_breaker("stock"), registry().retry("stock"));
    retry.reconfigure(retry::Config::default().max(2).base(Duration::from_millis(5)))?;

    let mut calls = 0;
    let mut stock = || {
        calls += 1;
        if calls < 3 { Err(io::Error::from(io::ErrorKind::ConnectionRefused)) } else { Ok(7) }
    };
    let found = bulkhead.call(|| breaker.call(|| retry.call(&mut stock)))?;
    println!("nested: {found} in stock, after {calls} calls\n");

    let pipeline = Pipeline::builder("stock of a shop")
        .bulkhead("stock")
        .circuit_breaker("stock")
        .retry("stock")
        .build();
    println!("{}\n", pipeline.explain());
    println!("pipeline: {} in stock\n", pipeline.call(|| io::Result::Ok(3))?);

    let unknown: Option<u32> =
        pipeline.request().fallback(|| Chain::of(Level::Default, |_| Some(0))).call(|| None);
    println!("with a fallback: {unknown:?}\n");
    println!("{}", registry().stats());
    Ok(())
}
