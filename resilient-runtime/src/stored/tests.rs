//! A stored value reads back unchanged, or is not stored.

// These tests are about nested options.
#![allow(clippy::option_option, clippy::needless_pass_by_value, clippy::items_after_statements)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde::{Deserialize, Serializer};

use super::reader::digest;
use super::*;

fn again<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let (bytes, _) = keep(Side::Ok, "shop::charge", value)?;
    match Stored::of(&bytes, "shop::charge") {
        Ok(Stored::Value(stored)) => stored.read().map_err(|why| format!("{why:?}")),
        other => Err(format!("{other:?}")),
    }
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    assert_eq!(again(&value), Ok(value));
}

fn refused<T: Serialize + DeserializeOwned + Debug>(value: T) -> String {
    keep(Side::Ok, "shop::charge", &value).map(|(_, value)| value).unwrap_err()
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Receipt {
    number: u32,
    cents: f64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Newtype(u64);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i8, Option<Newtype>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum External {
    Unit,
    Newtype(Option<Option<u32>>),
    Tuple(u8, char),
    Struct { a: f32, b: Unit },
    Empty {},
    None(),
    Inner(Box<External>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Newtype(Receipt),
    Struct { a: Option<Option<()>>, kind: External },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "of")]
enum Adjacent {
    Unit,
    Newtype(Vec<Newtype>),
    Tuple(u8, Option<i128>),
    Struct { a: i128 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Float(f64),
    Text(String),
    Pair(i8, i8),
    Inner(External),
    Struct { a: Option<Option<u8>> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    receipt: Receipt,
    #[serde(flatten)]
    rest: BTreeMap<String, Option<Option<i64>>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default)]
    fee: u32,
}

#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_owned()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[test]
fn every_type_of_the_data_model_reads_back_unchanged() {
    for bits in [0, 1, 1 << 63, 0x7ff0 << 48, 0x7ff8_0000_dead_beef, 0xfff0_0000_0000_0001, u64::MAX] {
        assert_eq!(again(&f64::from_bits(bits)).unwrap().to_bits(), bits);
    }
    for bits in [0, 1, 1 << 31, 0x7f80_0000, 0x7fc0_1234, 0xff80_0001, u32::MAX] {
        assert_eq!(again(&f32::from_bits(bits)).unwrap().to_bits(), bits);
    }
    same(1_193.825_500_000_000_1_f64);
    same((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN));
    same((i8::MAX, i16::MAX, i32::MAX, i64::MAX, i128::MAX));
    same((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, -1_i128, 0_u8));
    same((true, false, '\0', '\u{10ffff}', String::from("a\0ä"), ()));
    same([None, Some(None), Some(Some(0_u8))]);
    same([None, Some(None), Some(Some(()))]);
    same([None, Some(())]);
    same([Some(Unit), None]);
    same(Raw((0..=255).collect()));
    same((Raw(Vec::new()), Vec::<u8>::new(), Vec::<Vec<()>>::from([vec![(), ()], vec![]])));
    same((Unit, Newtype(7), Pair(-1, None), Pair(1, Some(Newtype(0)))));
    same(BTreeMap::from([((1_u8, 'a'), Some(Newtype(1))), ((1, 'b'), None)]));
    same(BTreeMap::from([(Newtype(3), BTreeMap::from([(None::<bool>, 1)])), (Newtype(4), BTreeMap::new())]));
    same(BTreeMap::from([(1_i64, "a".to_owned()), (-1, String::new())]));
    same((
        Duration::MAX,
        SystemTime::UNIX_EPOCH + Duration::from_nanos(1),
        Arc::new(5_u8),
        Box::new(Receipt::default()),
    ));
    same((
        "::ffff:1.2.3.4".parse::<IpAddr>().unwrap(),
        "10.0.0.1:80".parse::<std::net::SocketAddr>().unwrap(),
    ));
    same((Ok::<u8, String>(1), Err::<u8, String>("no".into()), 1..4, std::num::NonZeroU8::MIN));
    same(serde_json::json!({"a": [null, 1, 2.5, "x", {"b": true}]}));
}

#[test]
fn every_kind_of_enum_reads_back_unchanged() {
    let all = || {
        let b = Unit;
        [
            External::Unit,
            External::Tuple(1, 'x'),
            External::Struct { a: -0.0, b },
            External::Empty {},
            External::None(),
        ]
    };
    same(all());
    same([None, Some(None), Some(Some(1))].map(External::Newtype));
    same(all().map(|inner| External::Inner(Box::new(inner))));
    same([Internal::Unit, Internal::Newtype(Receipt { number: 1, cents: f64::INFINITY })]);
    for a in [None, Some(None), Some(Some(()))] {
        same(Internal::Struct { a, kind: External::Unit });
    }
    same(all().map(|kind| Internal::Struct { a: None, kind }));
    same([
        Adjacent::Unit,
        Adjacent::Newtype(vec![Newtype(1)]),
        Adjacent::Tuple(1, Some(-5)),
        Adjacent::Struct { a: 1 << 100 },
    ]);
    same([Untagged::Number(1), Untagged::Float(1.0), Untagged::Text("1".into()), Untagged::Pair(1, 2)]);
    same([None, Some(None), Some(Some(3))].map(|a| Untagged::Struct { a }));
    same(Untagged::Inner(External::Tuple(1, 'x')));
    let rest =
        BTreeMap::from([("a".into(), None), ("b".into(), Some(None)), ("c".into(), Some(Some(i64::MIN)))]);
    same(Flat { id: 1, receipt: Receipt { number: 2, cents: f64::NEG_INFINITY }, rest });
    same([Sparse { note: None, fee: 0 }, Sparse { note: Some(String::new()), fee: 1 }]);
}

#[test]
fn sets_and_maps_are_equal_in_any_order() {
    same((0..100).map(|number| (number, number.to_string())).collect::<HashMap<u32, String>>());
    same((0..100).map(|number| Newtype(number % 7)).collect::<HashSet<_>>());
    same(HashMap::from([(1, HashSet::from(["a".to_owned(), "b".to_owned()])), (2, HashSet::new())]));
}

#[test]
fn a_value_that_reads_back_as_a_different_one_is_not_stored() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Ambiguous {
        Small(u8),
        Large(u64),
        List(Vec<u32>),
        Pair((u32, u32)),
        Named(Receipt),
        Other(Other),
        Wide(u128),
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Other {
        number: u32,
        cents: f64,
    }
    assert_eq!(again(&Ambiguous::Small(5)).map(|_| ()), Ok(()));
    assert_eq!(again(&Ambiguous::List(vec![5, 6])).map(|_| ()), Ok(()));
    assert_eq!(again(&Ambiguous::Named(Receipt::default())).map(|_| ()), Ok(()));
    for another in
        [Ambiguous::Large(5), Ambiguous::Pair((1, 2)), Ambiguous::Other(Other { number: 0, cents: 0.0 })]
    {
        let text = refused(another);
        assert_eq!(text, "a value of type `Ambiguous` cannot be saved: it reads back as a different value");
    }
    assert!(
        refused(Ambiguous::Wide(1)).contains("cannot be read back"),
        "serde does not buffer 128-bit numbers"
    );
    #[derive(Debug, Serialize, Deserialize)]
    struct OneWay {
        #[serde(skip_deserializing)]
        note: String,
    }
    assert!(refused(OneWay { note: "x".into() }).contains("a different value"));
    #[derive(Debug, Serialize, Deserialize)]
    struct Needs {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
    }
    assert!(refused(Needs { list: Vec::new() }).contains("missing field `list`"));
}

#[test]
fn a_panic_in_the_code_of_the_type_is_an_error() {
    #[derive(Debug, Deserialize)]
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("halfway")
        }
    }
    assert!(refused(Panics).contains("`Serialize` panicked"));
    assert!(write(&Panics).unwrap_err().contains("`Serialize` panicked"));
}

#[derive(Debug, Serialize, Deserialize)]
struct List(Option<Box<List>>);

#[test]
fn nesting_depth_is_limited_for_writing_and_reading() {
    let list = |length: u32| (0..length).fold(List(None), |rest, _| List(Some(Box::new(rest))));
    assert!(again(&list(60)).is_ok());
    assert!(refused(list(200)).contains("nested deeper than 128"));
    let deep = [vec![tag::SOME; 100_000], vec![tag::NONE]].concat();
    assert!(value_of::<List>(&deep).is_err());
    assert!(digest(&deep).is_err());
    assert!(value_of::<serde::de::IgnoredAny>(&vec![tag::SEQ; 100_000]).is_err());
}

#[test]
fn reading_another_type_is_an_error_that_names_both_types() {
    mod later {
        #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub(super) struct Receipt {
            number: u32,
            cents: f64,
            fee: u32,
        }
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename = "Receipt")]
        pub(super) struct Renamed {
            number: u32,
            cents: f64,
        }
    }
    mod moved {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) struct Receipt {
            pub(super) number: u32,
            pub(super) cents: f64,
        }
    }
    let (bytes, _) = keep(Side::Ok, "shop::charge", &Receipt { number: 1, cents: 9.5 }).unwrap();
    let read = || match Stored::of(&bytes, "shop::charge") {
        Ok(Stored::Value(value)) => value,
        other => panic!("{other:?}"),
    };
    let text = |why: Unreadable| match why {
        Unreadable::Value(text) => text,
        Unreadable::Operation(by) => panic!("{by}"),
    };
    assert_eq!(read().read(), Ok(moved::Receipt { number: 1, cents: 9.5 }), "the module does not matter");
    assert_eq!(
        text(read().read::<later::Receipt>().unwrap_err()),
        "found `Receipt` of operation `shop::charge`, expected `Receipt`, whose fields have changed"
    );
    assert_eq!(
        text(read().read::<later::Renamed>().unwrap_err()),
        "found `Receipt` of operation `shop::charge`, expected `Renamed`"
    );
    assert!(
        text(read().read::<Sparse>().unwrap_err()).contains("expected `Sparse`"),
        "not an empty `Sparse`"
    );
    assert!(text(read().read_alike::<Sparse>().unwrap_err()).contains("expected `Sparse`"));
    assert!(text(read().read::<u32>().unwrap_err()).contains("expected `u32`"));
    let (bytes, _) = keep(Side::Ok, "", &Vec::<u32>::new()).unwrap();
    let Ok(Stored::Value(value)) = Stored::of(&bytes, "shop::charge") else { panic!() };
    assert_eq!(value.read(), Ok(Vec::<u32>::new()));
    assert!(
        text(value.read::<Vec<String>>().unwrap_err()).contains("found `Vec<u32>`"),
        "even if it is empty"
    );
    let (bytes, _) = keep(Side::Ok, "", &5_u32).unwrap();
    let Ok(Stored::Value(value)) = Stored::of(&bytes, "") else { panic!() };
    assert!(value.read_alike::<u64>().is_err(), "even if the number fits");
}

#[test]
fn a_result_of_another_operation_is_distinguished_from_one_of_another_type() {
    let (bytes, _) = keep(Side::Ok, "shop::charge", &7_u32).unwrap();
    assert_eq!(Stored::of(&bytes, "shop::refund").unwrap_err(), Unreadable::Operation("shop::charge".into()));
    assert!(matches!(Stored::of(&bytes, ""), Ok(Stored::Value(_))), "a direct call has no operation");
    let direct = write("text").unwrap();
    let Ok(Stored::Value(value)) = Stored::of(&direct, "shop::charge") else { panic!() };
    assert_eq!(value.read(), Ok("text".to_owned()), "`&str` reads as `String`");
}

#[test]
fn another_format_and_damage_are_errors_without_a_panic() {
    let (bytes, _) = keep(Side::Err, "shop::charge", &Receipt { number: 1, cents: 9.5 }).unwrap();
    let read = |bytes: &[u8]| match Stored::of(bytes, "shop::charge")? {
        Stored::Value(value) => value.read::<Receipt>(),
        Stored::Json(bytes) => from_json(bytes),
    };
    let mut later = bytes.clone();
    later[1] = 3;
    let Err(Unreadable::Value(text)) = read(&later) else { panic!() };
    assert!(
        text.contains("it has format 3, but this version of resilient reads format 2 and JSON"),
        "{text}"
    );
    for at in 0..bytes.len() {
        assert!(read(&bytes[..at]).is_err(), "truncated at {at}");
    }
    for byte in 0..=255 {
        let _ = read(&[byte; 40]);
        let mut damaged = bytes.clone();
        damaged.iter_mut().skip(19).for_each(|it| *it ^= byte);
        let _ = read(&damaged);
    }
}

#[test]
fn json_of_an_earlier_version_is_read_if_it_is_exact() {
    assert_eq!(from_json(br#"{"number":1,"cents":9.5}"#), Ok(Receipt { number: 1, cents: 9.5 }));
    let Err(Unreadable::Value(text)) = from_json::<f64>(b"1193.8255000000001") else {
        panic!("it is inexact")
    };
    assert!(
        text.contains("saved as JSON by an earlier version of resilient and cannot be read exactly"),
        "{text}"
    );
    assert!(from_json::<Sparse>(br#"{"number":1,"cents":9.5}"#).is_err(), "not an empty `Sparse`");
}

#[test]
fn type_names_do_not_contain_modules() {
    for (name, expected) in [
        ("alloc::vec::Vec<shop::api::v1::Receipt>", "Vec<Receipt>"),
        ("core::option::Option<(u8, alloc::string::String)>", "Option<(u8, String)>"),
        ("[shop::Cents; 4]", "[Cents; 4]"),
        ("&str", "&str"),
        ("std::collections::hash::map::HashMap<a::b_1::C, d::E>", "HashMap<C, E>"),
        ("dyn core::fmt::Debug + core::marker::Send", "dyn Debug + Send"),
    ] {
        assert_eq!(short(name), expected);
    }
    let (one, other) = ("ä".repeat(1000), "ä".repeat(1001));
    assert_ne!(short(&one), short(&other));
    assert!(short(&one).len() <= LONGEST_NAME);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_number_reads_back_unchanged(bits: u64, wide: i128, narrow: u16, signed: i32) {
        prop_assert_eq!(again(&f64::from_bits(bits)).unwrap().to_bits(), bits);
        prop_assert_eq!(again(&(wide, narrow, signed, bits)).unwrap(), (wide, narrow, signed, bits));
    }

    #[test]
    fn arbitrary_bytes_do_not_cause_a_panic(bytes: Vec<u8>) {
        let _ = value_of::<Flat>(&bytes);
        let _ = value_of::<(External, Untagged, Internal)>(&bytes);
        let _ = digest(&bytes);
        let _ = Stored::of(&bytes, "x");
    }
}
