//! Bodies that run more than once and use arguments in ways that look like moves but are not.

// The odd code in these bodies shows uses that do not move a value.
#![allow(clippy::redundant_closure_call, clippy::uninlined_format_args, clippy::single_element_loop)]
#![allow(
    clippy::shadow_reuse,
    clippy::shadow_unrelated,
    clippy::equatable_if_let,
    clippy::option_if_let_else
)]

use std::cell::Cell;
use std::sync::Arc;

use resilient_runtime::{Rejection, resilient};

use crate::tick;

/// Fails once.
fn second_try(calls: &Cell<u32>) -> Option<()> {
    calls.set(calls.get() + 1);
    (calls.get() > 1).then_some(())
}

#[derive(Clone, Copy, PartialEq)]
struct Point(u32, u32);

struct Pair {
    cents: u32,
    name: String,
}

const fn same<T>(value: T) -> T {
    value
}

fn length(text: &str) -> usize {
    text.len()
}

#[resilient(retry(max = 1, base = "0ms"))]
fn copies<T: Copy + Into<u64>>(
    calls: &Cell<u32>,
    point: Point,
    maybe: Option<u32>,
    generic: T,
    by: (u8, u8),
) -> Option<u64> {
    second_try(calls)?;
    let moved = point;
    let Point(x, _) = same(point);
    let all = [by, by];
    Some(u64::from(moved.1 + x + maybe? + u32::from(all[1].0)) + same(generic).into())
}

type Mut<'a> = &'a mut Vec<u32>;

fn push(into: &mut Vec<u32>) {
    into.push(1);
}

/// A `&mut` behind an alias is reborrowed by each call that receives it.
#[resilient(retry(max = 1, base = "0ms"))]
fn borrows_anew(calls: &Cell<u32>, into: Mut<'_>) -> Option<usize> {
    push(into);
    second_try(calls)?;
    Some(into.len())
}

/// Nothing here moves the argument: it is borrowed, read, or shadowed by another binding.
#[resilient(retry(max = 1, base = "0ms"))]
fn only_reads(calls: &Cell<u32>, name: String, pair: Pair, shared: Arc<str>) -> Option<usize> {
    fn name_of(name: String) -> usize {
        name.len()
    }
    second_try(calls)?;
    let cents = pair.cents;
    let is_same = name == pair.name || pair.name < name;
    let shown = format!("{name} {}", name);
    let first = match name.as_str() {
        "" => 0,
        text => length(text),
    };
    let counted = (|name: usize| same(name))(first);
    let cents_later = move || same(pair.cents + cents);
    let inner = {
        let name = name.clone();
        same(name)
    };
    if let Some(name) = Some(1_usize)
        && same(name) == 2
    {
        return None;
    }
    for name in [1_usize] {
        assert_eq!(same(name), 1);
    }
    #[cfg(any())]
    drop(name);
    let other = Arc::clone(&shared);
    Some(
        usize::from(is_same)
            + shown.len()
            + counted
            + name_of(inner)
            + other.len()
            + usize::try_from(cents_later()).ok()?,
    )
}

/// A `move` block captures only the field, which is `Copy`.
#[resilient(hedge(after = "1h"), idempotent)]
async fn field_of_a_block(pair: Pair) -> Result<u32, Rejection> {
    tick().await;
    let cents = async move { same(pair.cents) }.await;
    Ok(cents)
}

#[resilient(retry(max = 1, base = "0ms"), clone(name))]
fn copied(calls: &Cell<u32>, name: String, mut names: Vec<String>) -> Option<Vec<String>> {
    names.push(name);
    second_try(calls)?;
    Some(names)
}

enum Which {
    Number(u32),
    Text(String),
    Both { id: u32, text: String },
}

/// Patterns that bind nothing, or only `Copy` parts.
#[resilient(retry(max = 1, base = "0ms"))]
fn takes_apart(
    calls: &Cell<u32>,
    which: Which,
    pair: (u32, u8),
    (number, text): (u32, &str),
    word: Option<&'static str>,
    (owned, _): (String, u8),
) -> Option<u32> {
    second_try(calls)?;
    let (first, second) = pair;
    if let Some("none") = word {
        return None;
    }
    if let Some(word) = word {
        return word.parse().ok();
    }
    assert_eq!(owned, "owned");
    match which {
        Which::Number(given) => Some(given + number + first + u32::from(second)),
        Which::Text(ref text) => text.parse().ok(),
        Which::Both { id, .. } => text.parse::<u32>().ok().map(|it| it + id),
    }
}

type Borrowed<'a> = &'a Option<String>;

/// A reference type behind an alias, and a borrowed scrutinee.
#[resilient(retry(max = 1, base = "0ms"), hedge(after = "1h"), idempotent)]
async fn looks_into(which: Option<String>, borrowed: Borrowed<'_>) -> Result<usize, Rejection> {
    tick().await;
    if let Some(text) = borrowed {
        return Ok(text.len());
    }
    Ok(match &which {
        Some(text) => text.len(),
        None => match which {
            Some(_) => 1,
            None => 0,
        },
    })
}

#[tokio::test]
async fn a_pattern_that_binds_only_copy_parts_is_not_a_move() {
    let with = |which| takes_apart(&Cell::new(0), which, (2, 3), (4, "5"), None, ("owned".to_owned(), 0));
    assert_eq!(with(Which::Number(1)), Some(10));
    assert_eq!(with(Which::Text("7".to_owned())), Some(7));
    assert_eq!(with(Which::Both { id: 1, text: String::new() }), Some(6));
    let Which::Both { text, .. } = (Which::Both { id: 1, text: String::new() }) else { return };
    assert_eq!(text, "");
    assert_eq!(looks_into(Some("abc".to_owned()), &None).await.unwrap(), 3);
    assert_eq!(looks_into(None, &Some("ab".to_owned())).await.unwrap(), 2);
}

struct Account(u32);

impl Account {
    #[resilient(retry(max = 1, base = "0ms"))]
    fn cents(self, calls: &Cell<u32>) -> Option<u32> {
        second_try(calls)?;
        Some(same(self.0))
    }
}

/// The lint attribute of a `mut` argument moves with the `mut`.
#[resilient(retry(max = 1, base = "0ms"))]
fn unused_mut(
    calls: &Cell<u32>,
    #[allow(unused_mut)] mut x: u32,
    #[expect(unused_mut)] mut y: u32,
) -> Option<u32> {
    second_try(calls)?;
    Some(x + y)
}

#[tokio::test]
async fn cloned_and_borrowed_arguments_are_available_in_each_attempt() {
    let calls = Cell::new(0);
    assert_eq!(copies(&calls, Point(1, 2), Some(3), 4_u32, (5, 6)), Some(15));
    calls.set(0);
    assert_eq!(borrows_anew(&calls, &mut Vec::new()), Some(2));
    calls.set(0);
    let pair = Pair { cents: 1, name: "b".into() };
    assert_eq!(only_reads(&calls, "a".into(), pair, "abc".into()), Some(3 + 1 + 1 + 3 + 2));
    assert_eq!(field_of_a_block(Pair { cents: 7, name: String::new() }).await, Ok(7));
    calls.set(0);
    assert_eq!(copied(&calls, "a".into(), vec![]), Some(vec!["a".to_owned()]));
    calls.set(0);
    assert_eq!(Account(5).cents(&calls), Some(5));
    calls.set(0);
    assert_eq!(unused_mut(&calls, 1, 2), Some(3));
}
