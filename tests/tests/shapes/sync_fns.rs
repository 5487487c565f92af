//! Synchronous functions.

use std::cell::Cell;
use std::fmt::Display;

use resilient_runtime::resilient;

use crate::{E, NoClone, flaky};

/// Fails the first attempt, so that a result shows that the retry works.
fn second_attempt() -> Result<(), E> {
    if resilient_runtime::attempt() < 2 { Err(E::Bad) } else { Ok(()) }
}

#[resilient(circuit_breaker = "sync")]
fn plain(x: &str) -> Result<u32, E> {
    Ok(x.parse()?)
}

#[resilient(retry(max = 3, base = "0ms"))]
fn question_mark(x: &str, calls: &Cell<u32>) -> Result<u32, E> {
    flaky(calls, 3)?;
    Ok(x.parse::<u32>()? + calls.get())
}

#[resilient(circuit_breaker = "sync")]
fn early_return(x: String, flag: bool) -> Result<String, E> {
    if flag {
        return Ok(x);
    }
    Err(E::Bad)
}

#[resilient(retry(max = 3, base = "0ms"))]
fn borrowed_no_clone(x: NoClone, calls: &Cell<u32>) -> Result<u32, E> {
    // T153: an argument that is only read need not be `Clone`.
    Ok(flaky(calls, 2)? + x.0)
}

#[resilient(retry(max = 3, base = "0ms"), clone(x))]
fn cloned(x: String, calls: &Cell<u32>) -> Result<usize, E> {
    let moved = x;
    flaky(calls, 3)?;
    Ok(moved.len())
}

#[resilient(retry(max = 3, base = "0ms"))]
fn fresh_mut(mut x: Vec<u8>, calls: &Cell<u32>) -> Result<usize, E> {
    x.push(1);
    flaky(calls, 3)?;
    Ok(x.len())
}

#[resilient(circuit_breaker = "sync")]
fn mut_without_retry(mut x: u32) -> Option<u32> {
    x += 1;
    Some(x)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn patterns((a, b): (u32, u32), [c, mut d]: [u32; 2], NoClone(e): NoClone) -> Option<u32> {
    second_attempt().ok()?;
    d += 1;
    Some(a + b + c + d + e)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn lifetimes<'a, 'b: 'a>(x: &'a str, y: &'b str) -> Result<&'a str, E> {
    second_attempt()?;
    Ok(if x.len() > y.len() { x } else { y })
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "sync")]
fn elided(x: &str) -> Result<&str, E> {
    second_attempt()?;
    Ok(x.trim())
}

#[resilient(retry(max = 3, base = "0ms"))]
fn mutable_reference(buffer: &mut Vec<u8>) -> Result<usize, E> {
    buffer.push(0);
    if buffer.len() < 3 { Err(E::Bad) } else { Ok(buffer.len()) }
}

#[resilient(circuit_breaker = "sync")]
fn reborrow_out(buffer: &mut Vec<u8>) -> Option<&mut u8> {
    buffer.last_mut()
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "sync")]
fn generic<T, const N: usize>(xs: [T; N]) -> Result<String, E>
where
    T: Display,
{
    second_attempt()?;
    Ok(xs.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

#[resilient(retry(max = 2, base = "0ms"))]
fn impl_arguments(x: impl Display, f: impl Fn(u32) -> u32) -> Result<String, E> {
    second_attempt()?;
    Ok(format!("{x}{}", f(1)))
}

#[resilient(circuit_breaker = "sync")]
fn fn_mut(mut f: impl FnMut() -> u32) -> Option<u32> {
    f();
    Some(f())
}

#[resilient(circuit_breaker = "sync")]
fn opaque(n: u32) -> Result<impl Iterator<Item = u32>, E> {
    Ok(0..n)
}

#[resilient(circuit_breaker = "sync")]
fn closure_out(k: u32) -> Option<impl Fn(u32) -> u32> {
    Some(move |x| x + k)
}

#[resilient(retry(max = 2, base = "0ms"), bulkhead = "sync")]
fn boxed_error(x: &str) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    second_attempt()?;
    if x.is_empty() {
        return Err("empty".into());
    }
    Ok(x.parse()?)
}

#[resilient(bulkhead = "sync")]
fn io_alias() -> std::io::Result<u32> {
    Ok(19)
}

#[resilient(circuit_breaker = "sync")]
fn recursive(n: u32) -> Result<u32, E> {
    if n == 0 { Ok(0) } else { Ok(1 + recursive(n - 1)?) }
}

#[resilient(retry(max = 2, base = "0ms"))]
fn items_labels_shadowing(x: u32) -> Result<u32, E> {
    const TWO: u32 = 2;
    fn double(x: u32) -> u32 {
        x * TWO
    }
    second_attempt()?;
    let mut sum = 0;
    'outer: for i in 0..x {
        for j in 0..x {
            if j > i {
                continue 'outer;
            }
            if i == 3 {
                break 'outer;
            }
            sum += double(1);
        }
    }
    Ok(sum)
}

/// Documented.
#[resilient(circuit_breaker = "sync")]
#[inline]
#[must_use]
fn attributes(#[cfg(not(any()))] x: u32, #[cfg(any())] y: u32) -> Option<u32> {
    #![allow(clippy::identity_op)]
    Some(x + 0)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn unused(_x: String, _: u32) -> Option<u32> {
    second_attempt().ok()?;
    Some(26)
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "sync")]
#[allow(clippy::used_underscore_binding)]
fn names_like_ours(__call: u32, __out: u32, __delay: u32, __verdict: u32) -> Option<u32> {
    second_attempt().ok()?;
    Some(__call + __out + __delay + __verdict)
}

mod shadowed {
    //! User-defined names that shadow names of the prelude.
    #![allow(dead_code)]
    pub(super) struct Option;
    pub(super) struct Some;
    pub(super) struct String;
    pub(super) struct Vec;
    pub(super) trait Clone {}
    mod core {}
    mod std {}

    #[resilient_runtime::resilient(retry(max = 2, base = "0ms"), circuit_breaker = "sync", clone(x))]
    pub(super) fn shadowed(mut x: ::std::string::String) -> ::core::result::Result<usize, super::E> {
        super::second_attempt()?;
        x.push('!');
        let moved = x;
        Ok(moved.len())
    }
}

#[resilient(retry(max = 3, base = "0ms"))]
fn always_fails(calls: &Cell<u32>) -> Result<(), E> {
    calls.set(calls.get() + 1);
    Err(E::Bad)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn no_tail(x: &str) -> Result<(), E> {
    second_attempt()?;
    let _ = x.parse::<u32>()?;
    Ok(())
}

#[resilient(retry(max = 2, base = "0ms"))]
fn diverges(go: bool) -> Result<u32, E> {
    second_attempt()?;
    if go {
        return Ok(1);
    }
    panic!("on purpose")
}

#[resilient(circuit_breaker = "sync")]
fn coerced() -> Option<Box<dyn Display>> {
    Some(Box::new(32))
}

macro_rules! made {
    ($name:ident, $ty:ty) => {
        #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "sync")]
        fn $name(x: $ty) -> Result<$ty, E> {
            second_attempt()?;
            Ok(x + 1)
        }
    };
}
made!(made_by_a_macro, u64);

#[resilient(circuit_breaker = "sync")]
fn field_moved_out(pair: (String, String)) -> Option<String> {
    Some(pair.0)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn higher_ranked<F>(f: F) -> Option<usize>
where
    F: for<'a> Fn(&'a str) -> &'a str,
{
    second_attempt().ok()?;
    Some(f(" x ").len())
}

#[resilient(circuit_breaker = "sync")]
fn r#try(r#type: u32) -> Option<u32> {
    Some(r#type)
}

#[resilient(circuit_breaker = "sync")]
extern "Rust" fn abi(x: u32) -> Option<u32> {
    Some(x)
}

#[cfg_attr(all(), resilient(retry(max = 2, base = "0ms")))]
fn by_cfg_attr(calls: &Cell<u32>) -> Result<u32, E> {
    flaky(calls, 2)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn poll_error(calls: &Cell<u32>) -> Result<std::task::Poll<u32>, std::ops::ControlFlow<u32>> {
    calls.set(calls.get() + 1);
    if calls.get() == 2 { Ok(std::task::Poll::Ready(1)) } else { Err(std::ops::ControlFlow::Break(1)) }
}

trait InAConst {
    fn in_a_const(&self) -> Option<u32>;
}

const _: () = {
    impl InAConst for NoClone {
        #[resilient(circuit_breaker = "sync")]
        fn in_a_const(&self) -> Option<u32> {
            inner(self.0)
        }
    }

    #[resilient(retry(max = 1, base = "0ms"))]
    fn inner(x: u32) -> Option<u32> {
        second_attempt().ok()?;
        Some(x)
    }
};

struct Sized<const N: usize = 3>(usize);

impl<const N: usize> Sized<N> {
    #[resilient(circuit_breaker = "sync")]
    fn size(&self) -> Option<usize>
    where
        for<'a> &'a Self: Copy,
    {
        Some(self.0 + N)
    }
}

macro_rules! many {
    ($($name:ident)*) => {
        #[resilient(retry(max = 2, base = "0ms"))]
        #[allow(clippy::too_many_arguments)]
        fn many($($name: u32),*) -> Option<u32> {
            second_attempt().ok()?;
            Some(0 $(+ $name)*)
        }
    };
}
many!(a b c d e f g h i j k l m n o p q r s t u v w x y z aa ab ac ad ae af ag ah ai aj ak al am an ao ap aq ar
    at au av aw ax ay az ba bb bc bd be bf bg bh bi);

#[test]
fn values_and_early_returns() {
    assert_eq!(plain("7"), Ok(7));
    assert!(matches!(plain("x"), Err(E::Parse(_))));
    assert_eq!(early_return("x".into(), true), Ok("x".into()));
    assert_eq!(early_return("x".into(), false), Err(E::Bad));
    assert_eq!(recursive(20), Ok(20));
    assert_eq!(items_labels_shadowing(5), Ok(12));
    assert_eq!(attributes(25), Some(25));
    assert_eq!(unused(String::new(), 1), Some(26));
    assert_eq!(names_like_ours(1, 2, 3, 4), Some(10));
    assert_eq!(shadowed::shadowed("x".into()), Ok(2));
    assert_eq!(no_tail("1"), Ok(()));
    assert_eq!(coerced().map(|shown| shown.to_string()), Some("32".into()));
    assert_eq!(made_by_a_macro(33), Ok(34));
    assert_eq!(r#try(3), Some(3));
    assert_eq!(abi(3), Some(3));
    assert_eq!(NoClone(4).in_a_const(), Some(4));
    assert_eq!((<Sized>::size(&Sized(1)), Sized::<4>(1).size()), (Some(4), Some(5)));
    assert!(io_alias().is_ok_and(|n| n == 19));
    assert!(boxed_error("5").is_ok_and(|n| n == 5));
    assert!(boxed_error("").is_err_and(|error| error.to_string() == "empty"));
}

#[test]
fn each_attempt_sees_the_original_arguments() {
    let calls = Cell::new(0);
    assert_eq!(question_mark("10", &calls), Ok(13));
    assert_eq!(borrowed_no_clone(NoClone(1), &Cell::new(0)), Ok(3));
    assert_eq!(cloned("abc".into(), &Cell::new(0)), Ok(3));
    assert_eq!(
        fresh_mut(vec![0], &Cell::new(0)),
        Ok(2),
        "changes of one attempt are not visible in the next"
    );
    assert_eq!(mut_without_retry(1), Some(2));
    assert_eq!(patterns((1, 2), [3, 4], NoClone(5)), Some(16));
    assert_eq!(by_cfg_attr(&Cell::new(0)), Ok(2));
    let polls = Cell::new(0);
    assert!(poll_error(&polls).is_ok());
    assert_eq!(polls.get(), 2);
    let failing = Cell::new(0);
    assert_eq!(always_fails(&failing), Err(E::Bad));
    assert_eq!(failing.get(), 4);
}

#[test]
fn references_lifetimes_and_generics() {
    assert_eq!(lifetimes("ab", "c"), Ok("ab"));
    assert_eq!(elided(" x "), Ok("x"));
    let mut buffer = Vec::new();
    assert_eq!(mutable_reference(&mut buffer), Ok(3));
    *reborrow_out(&mut buffer).unwrap() = 9;
    assert_eq!(buffer, [0, 0, 9]);
    assert_eq!(generic([1, 2]), Ok("1,2".into()));
    assert_eq!(impl_arguments("x", |n| n + 1), Ok("x2".into()));
    let mut count = 0;
    assert_eq!(
        fn_mut(|| {
            count += 1;
            count
        }),
        Some(2)
    );
    assert_eq!(opaque(3).unwrap().sum::<u32>(), 3);
    assert_eq!(closure_out(1).unwrap()(2), 3);
    assert_eq!(field_moved_out(("a".into(), "b".into())), Some("a".into()));
    assert_eq!(higher_ranked(str::trim), Some(1));
    assert_eq!(
        many(
            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
        ),
        Some(60)
    );
}

#[test]
fn a_local_function_and_a_panic() {
    #[resilient(retry(max = 2, base = "0ms"))]
    fn local(x: u32) -> Option<u32> {
        second_attempt().ok()?;
        Some(x)
    }
    assert_eq!(local(1), Some(1));
    assert_eq!(diverges(true), Ok(1));
    assert!(std::panic::catch_unwind(|| diverges(false)).is_err());
}
