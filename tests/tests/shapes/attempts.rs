//! Every attempt sees the arguments of the first one, in functions of every shape. Each function here fails until its
//! third attempt.

use std::cell::Cell;
use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use resilient_runtime::resilient;

use crate::{E, NoClone, tick};

/// Fails in the first two attempts.
fn third() -> Result<u32, E> {
    if resilient_runtime::attempt() < 3 { Err(E::Bad) } else { Ok(resilient_runtime::attempt()) }
}

struct Pair {
    a: u32,
    b: Vec<u8>,
}

/// T153: only the `mut` bindings of a pattern are cloned.
#[resilient(retry(max = 2, base = "0ms"))]
fn patterns(
    Pair { a, mut b }: Pair,
    [c, mut d]: [u32; 2],
    (NoClone(e), _): (NoClone, &NoClone),
    &mut ref f: &mut NoClone,
) -> Result<u32, E> {
    b.push(1);
    d += 1;
    Ok(third()? + a + u32::try_from(b.len()).unwrap_or(0) + c + d + e + f.0)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn copied_by_the_body(x: String) -> Result<usize, E> {
    let moved = x.clone();
    third()?;
    Ok(moved.len() + x.len())
}

#[resilient(retry(max = 2, base = "0ms"))]
fn conditional(#[cfg(any())] mut x: NoClone, #[cfg(not(any()))] mut x: Vec<u8>) -> Result<usize, E> {
    x.push(1);
    third()?;
    Ok(x.len())
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "the generic")]
fn generic<T, F, const N: usize>(xs: [T; N], f: F) -> Result<String, E>
where
    T: Display,
    F: for<'a> Fn(&'a str) -> &'a str,
{
    third()?;
    Ok(xs.iter().map(|x| f(&x.to_string()).to_owned()).collect())
}

#[resilient(retry(max = 2, base = "0ms"))]
fn opaque(x: &str) -> Result<impl Iterator<Item = char>, E> {
    third()?;
    Ok(x.chars())
}

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "the option")]
fn option(calls: &Cell<u32>) -> Option<u32> {
    calls.set(calls.get() + 1);
    third().ok()
}

macro_rules! returning {
    ($name:ident, $breaker:literal, $base:literal, $calls:ident, $output:ty, $body:block) => {
        #[resilient(retry(max = 2, base = $base), circuit_breaker = $breaker)]
        #[allow(clippy::needless_lifetimes)] // `$output` may mention it
        fn $name<'a>($calls: &'a AtomicU32) -> $output $body
    };
}
returning!(made, "the made", "0ms", calls, Result<u32, E>, {
    calls.fetch_add(1, Ordering::Relaxed);
    third()
});
returning!(made_boxed, "the made_boxed", "0ms", calls, BoxFuture<'a, Result<u32, E>>, {
    Box::pin(async move {
        calls.fetch_add(1, Ordering::Relaxed);
        third()
    })
});
returning!(made_future, "the made_future", "0ms", calls, impl Future<Output = Result<u32, E>> + use<'a>, {
    async move {
        calls.fetch_add(1, Ordering::Relaxed);
        third()
    }
});

#[test]
fn attempts_of_a_synchronous_function() {
    let given = Pair { a: 1, b: vec![] };
    assert_eq!(patterns(given, [2, 3], (NoClone(4), &NoClone(0)), &mut NoClone(5)), Ok(20));
    assert_eq!(copied_by_the_body("ab".into()), Ok(4));
    assert_eq!(conditional(vec![]), Ok(1));
    assert_eq!(generic([" 1", "2 "], str::trim), Ok("12".into()));
    assert_eq!(opaque("ab").unwrap().count(), 2);
    let calls = Cell::new(0);
    assert_eq!((option(&calls), calls.get()), (Some(3), 3));
    let again = AtomicU32::new(0);
    assert_eq!((made(&again), again.into_inner()), (Ok(3), 3));
}

macro_rules! many {
    ($($name:ident)*) => {
        #[resilient(retry(max = 2, base = "0ms"), bulkhead = "attempts", timeout = "1s")]
        #[allow(clippy::too_many_arguments)]
        async fn many($(mut $name: u32),*) -> Result<u32, E> {
            $($name += 1;)*
            tick().await;
            third()?;
            Ok(0 $(+ $name)*)
        }
    };
}
many!(a b c d e f g h i j k l m n o p q r s t u v w x y z aa ab ac ad ae af ag ah ai aj ak al am an ao ap aq ar
    at au av aw ax ay az ba bb bc bd be bf bg bh bi);

#[resilient(retry(max = 2, base = "0ms"), map_err = |_| std::fmt::Error, circuit_breaker = "the foreign_error")]
async fn foreign_error(calls: &AtomicU32) -> Result<u32, std::fmt::Error> {
    calls.fetch_add(1, Ordering::Relaxed);
    tick().await;
    third().map_err(|_| std::fmt::Error)
}

#[resilient(retry(max = 2, base = "0ms"))]
fn mut_in_a_future(mut x: Vec<u8>) -> impl Future<Output = Result<usize, E>> + Send {
    x.push(1);
    async move {
        tick().await;
        third()?;
        Ok(x.len())
    }
}

/// `let _: u32` only looks like the code of `#[async_trait]`: the whole block belongs to the attempt.
#[resilient(retry(max = 2, base = "0ms"))]
fn not_of_async_trait(calls: &AtomicU32) -> BoxFuture<'_, Result<u32, E>> {
    Box::pin(async move {
        let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call < 3 {
            return Err(E::Bad);
        }
        let _: u32 = call;
        let _: () = tick().await;
        Ok(call)
    })
}

/// Statements before the box run once, and each attempt starts with their result.
#[resilient(retry(max = 2, base = "0ms"))]
fn changed_before_the_box(
    mut x: Vec<u8>,
    once: &Cell<u32>,
) -> Pin<Box<dyn Future<Output = Result<usize, E>>>> {
    x.push(1);
    once.set(once.get() + 1);
    Box::pin(async move {
        x.push(2);
        tick().await;
        third()?;
        Ok(x.len())
    })
}

/// Statements before the box that do not change the argument; no lint reports them.
#[resilient(retry(max = 2, base = "0ms"))]
fn not_changed_before_the_box(mut x: Vec<u8>) -> BoxFuture<'static, Result<usize, E>> {
    let two = 2;
    Box::pin(async move {
        x.push(two);
        tick().await;
        third()?;
        Ok(x.len())
    })
}

#[tokio::test]
async fn attempts_of_an_asynchronous_function() {
    let sum = many(
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    );
    assert_eq!(sum.await, Ok(120));
    let calls = AtomicU32::new(0);
    assert_eq!((foreign_error(&calls).await, calls.into_inner()), (Ok(3), 3));
    assert_eq!(mut_in_a_future(vec![]).await, Ok(1));
}

#[tokio::test]
async fn attempts_of_a_boxed_future() {
    let calls = AtomicU32::new(0);
    assert_eq!((not_of_async_trait(&calls).await, calls.into_inner()), (Ok(3), 3));
    let once = Cell::new(0);
    assert_eq!((changed_before_the_box(vec![], &once).await, once.get()), (Ok(2), 1));
    assert_eq!(not_changed_before_the_box(vec![]).await, Ok(1));
    let again = AtomicU32::new(0);
    assert_eq!((made_boxed(&again).await, made_future(&again).await), (Ok(3), Ok(3)));
    assert_eq!(again.into_inner(), 6);
}

#[async_trait]
trait Work {
    async fn work(&self, x: Vec<u8>, y: &[u8]) -> Result<usize, E>;
    async fn pattern(&self, x: (u32, Vec<u8>)) -> Result<u32, E>;
    async fn moved(&self, x: (Vec<u8>, u32)) -> Result<usize, E>;
    async fn nothing(&self, calls: &AtomicU32, x: Vec<u8>);
    async fn shared(self: Arc<Self>) -> Result<u32, E>;

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn defaulted(&self, mut x: Vec<u8>) -> Result<usize, E> {
        x.push(1);
        tick().await;
        third()?;
        Ok(x.len())
    }
}

#[async_trait]
impl Work for NoClone {
    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "the work")]
    async fn work(&self, mut x: Vec<u8>, mut y: &[u8]) -> Result<usize, E> {
        x.push(1);
        y = &y[1..];
        tick().await;
        third()?;
        Ok(x.len() + y.len())
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn pattern(&self, (mut a, mut b): (u32, Vec<u8>)) -> Result<u32, E> {
        a += 1;
        b.push(1);
        tick().await;
        Ok(third()? + a + u32::try_from(b.len()).unwrap_or(0) + self.0)
    }

    #[resilient(retry(max = 2, base = "0ms"), clone(a))]
    async fn moved(&self, (a, _b): (Vec<u8>, u32)) -> Result<usize, E> {
        let moved = a;
        tick().await;
        third()?;
        Ok(moved.len())
    }

    #[resilient(retry(max = 2, base = "0ms"), failure = |()| third().is_err(), fallback = ())]
    async fn nothing(&self, calls: &AtomicU32, mut x: Vec<u8>) {
        x.push(1);
        tick().await;
        calls.fetch_add(u32::try_from(x.len()).unwrap_or(0), Ordering::Relaxed);
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn shared(self: Arc<Self>) -> Result<u32, E> {
        tick().await;
        Ok(third()? + self.0)
    }
}

#[tokio::test]
async fn attempts_of_an_async_trait_method() {
    let it = Arc::new(NoClone(1));
    assert_eq!(it.work(vec![], &[1, 2]).await, Ok(2));
    assert_eq!(it.pattern((1, vec![])).await, Ok(7));
    assert_eq!(it.moved((vec![1, 2], 0)).await, Ok(2));
    let calls = AtomicU32::new(0);
    it.nothing(&calls, vec![]).await;
    assert_eq!(calls.into_inner(), 3);
    assert_eq!(it.defaulted(vec![]).await, Ok(1));
    assert_eq!(it.shared().await, Ok(4));
}

impl NoClone {
    #[resilient(retry(max = 2, base = "0ms"))]
    fn by_rc(self: Rc<Self>) -> Result<u32, E> {
        Ok(third()? + self.0)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    fn by_box(self: Box<Self>) -> Result<u32, E> {
        Ok(third()? + self.0)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn by_pin(self: Pin<&mut Self>) -> Result<u32, E> {
        tick().await;
        Ok(third()? + self.0)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn by_value(self, x: &str) -> Result<u32, E> {
        tick().await;
        Ok(third()? + self.0 + x.parse::<u32>()?)
    }

    #[resilient(retry(max = 2, base = "0ms"))]
    async fn made(x: u32) -> Result<Self, E> {
        tick().await;
        third()?;
        Ok(Self(x))
    }
}

#[tokio::test]
async fn attempts_of_a_method() {
    assert_eq!(Rc::new(NoClone(1)).by_rc(), Ok(4));
    assert_eq!(Box::new(NoClone(1)).by_box(), Ok(4));
    assert_eq!(Pin::new(&mut NoClone(1)).by_pin().await, Ok(4));
    assert_eq!(NoClone(1).by_value("1").await, Ok(5));
    assert_eq!(NoClone::made(2).await, Ok(NoClone(2)));
}
