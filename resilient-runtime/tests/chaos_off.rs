//! Without the feature `chaos`, the program contains no code of fault injection.

use std::error::Error;

use resilient_runtime::{Registry, Rejection, resilient};

#[resilient(circuit_breaker = "symbols", retry(max = 3))]
fn annotated() -> Result<u32, Rejection> {
    Ok(7)
}

/// Whether this program contains the text, as part of a symbol or of a string.
///
/// It takes the text reversed, because the text itself must not be in the program.
fn contains(reversed: &str) -> Result<bool, Box<dyn Error>> {
    let program = std::fs::read(std::env::current_exe()?)?;
    let text: String = reversed.chars().rev().collect();
    Ok(program.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn the_code_of_fault_injection_exists_only_with_its_feature() -> Result<(), Box<dyn Error>> {
    // T137
    annotated()?;
    let pipeline = Registry::new().pipeline("symbols").retry("symbols").build();
    pipeline.call(|| Ok::<_, Rejection>(7))?;
    assert!(!Registry::new().stats().metrics().is_empty(), "the metrics are part of the program");
    let is_on = cfg!(feature = "chaos");
    // The mangled path of the module, and a text of it.
    assert_eq!(contains("soahc5emitnur_tneiliser71")?, is_on);
    assert_eq!(contains("latot_detcejni_soahc_tneiliser")?, is_on);
    assert!(contains("yrter5emitnur_tneiliser71")?, "other modules are found");
    Ok(())
}
