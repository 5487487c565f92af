//! The stored form of a result: its origin, and an exact image of the value in the serde data model.
//!
//! JSON, CBOR and `MessagePack` each merge values that serde tells apart: `Some(None)` and `None`, `Some(())` and
//! `None`, two different NaNs or a NaN and a missing value, an `f32` and an `f64`. A replay must equal the first
//! result, so this form has one tag for each type of the data model. It is self-describing, so untagged and internally
//! tagged enums, `flatten` and `default` work. It is also checked: a result is read back before it is stored, and the
//! value that was read must serialize to the same bytes. The same check at each replay detects a type that has changed
//! since.
//!
//! ```text
//! 'R', version, side (0: ok, 1: err), digest of the type names in the value (16 bytes),
//! length and name of the operation, length and name of the type, value
//! ```

mod reader;
mod writer;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::idempotency::Fingerprint;
use reader::Reader;
use writer::Writer;

const MAGIC: u8 = b'R';
/// Version 1 was JSON, which contains no version.
const VERSION: u8 = 2;
/// The first byte of a result in version 1.
const JSON: u8 = b'{';
/// Maximum nesting depth, so that no value can exhaust the stack.
const DEEPEST: u32 = 128;
/// Longest type name that is stored unchanged.
const LONGEST_NAME: usize = 200;

/// The tag of the next value.
mod tag {
    pub(super) const END: u8 = 0;
    pub(super) const UNIT: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const TRUE: u8 = 3;
    pub(super) const I8: u8 = 4;
    pub(super) const I16: u8 = 5;
    pub(super) const I32: u8 = 6;
    pub(super) const I64: u8 = 7;
    pub(super) const I128: u8 = 8;
    pub(super) const U8: u8 = 9;
    pub(super) const U16: u8 = 10;
    pub(super) const U32: u8 = 11;
    pub(super) const U64: u8 = 12;
    pub(super) const U128: u8 = 13;
    pub(super) const F32: u8 = 14;
    pub(super) const F64: u8 = 15;
    pub(super) const CHAR: u8 = 16;
    pub(super) const STR: u8 = 17;
    pub(super) const BYTES: u8 = 18;
    pub(super) const NONE: u8 = 19;
    pub(super) const SOME: u8 = 20;
    pub(super) const UNIT_VARIANT: u8 = 21;
    pub(super) const VARIANT: u8 = 22;
    pub(super) const SEQ: u8 = 23;
    pub(super) const TUPLE: u8 = 24;
    pub(super) const MAP: u8 = 25;
    pub(super) const STRUCT: u8 = 26;
}

/// Why a value cannot be written or read.
#[derive(Debug)]
pub(super) struct Fault(String);

impl Fault {
    fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// Why a stored result is not replayed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Another operation, with this name, stored it.
    Operation(String),
    /// It has another type or cannot be read.
    Value(String),
}

impl From<Fault> for Unreadable {
    fn from(fault: Fault) -> Self {
        Self::Value(fault.0)
    }
}

/// The side of the outcome that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Side {
    Ok,
    Err,
}

/// A value in the data model: its bytes, and a digest of the type names in it.
#[derive(Debug)]
struct Image {
    bytes: Vec<u8>,
    names: u128,
}

impl Image {
    fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Fault> {
        let mut writer = Writer::default();
        // The type belongs to the caller. A panic in its code must not replace the result.
        let written = catch_unwind(AssertUnwindSafe(|| value.serialize(&mut writer)));
        written.unwrap_or_else(|_| Err(Fault::new("its `Serialize` panicked")))?;
        Ok(writer.into_image())
    }

    /// Whether both images are of equal values. The order of sets and maps does not matter.
    fn is_like(&self, bytes: &[u8], names: u128) -> bool {
        self.names == names
            && (self.bytes == bytes
                || matches!((reader::digest(&self.bytes), reader::digest(bytes)), (Ok(one), Ok(other)) if one == other))
    }
}

fn value_of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut reader = Reader::new(bytes);
        let value = T::deserialize(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }));
    read.unwrap_or_else(|_| Err(Fault::new("its `Deserialize` panicked")))
}

/// Returns the stored form of a value and the value read back, or an error if the two values differ.
pub(super) fn keep<T: Serialize + DeserializeOwned>(
    side: Side,
    operation: &str,
    value: &T,
) -> Result<(Vec<u8>, T), String> {
    let name = type_name::<T>();
    let failed =
        |what: &str, fault: &dyn fmt::Display| format!("a value of type `{name}` cannot be {what}: {fault}");
    let image = Image::of(value).map_err(|fault| failed("saved", &fault))?;
    let again: T = value_of(&image.bytes).map_err(|fault| failed("read back", &fault))?;
    let second = Image::of(&again).map_err(|fault| failed("saved again", &fault))?;
    if !second.is_like(&image.bytes, image.names) {
        return Err(failed("saved", &"it reads back as a different value"));
    }
    Ok((form(side, operation, &name, &image), again))
}

/// Returns the stored form of a value whose type might not be deserializable.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    let name = type_name::<T>();
    let image =
        Image::of(value).map_err(|fault| format!("a value of type `{name}` cannot be saved: {fault}"))?;
    Ok(form(Side::Ok, "", &name, &image))
}

/// Reads a value that [`write`] returned, if it has exactly this type.
pub(crate) fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let problem = |unreadable| match unreadable {
        Unreadable::Operation(problem) | Unreadable::Value(problem) => problem,
    };
    match Stored::of(bytes, "").map_err(problem)? {
        Stored::Value(value) if value.side == Side::Ok => value.read().map_err(problem),
        Stored::Value(_) | Stored::Json(_) => Err("the data has another form".to_owned()),
    }
}

fn form(side: Side, operation: &str, name: &str, image: &Image) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + operation.len() + name.len() + image.bytes.len());
    bytes.extend([MAGIC, VERSION, side as u8]);
    bytes.extend(image.names.to_le_bytes());
    for text in [operation, name] {
        writer::number(&mut bytes, text.len() as u128);
        bytes.extend(text.as_bytes());
    }
    bytes.extend(&image.bytes);
    bytes
}

/// A parsed stored result.
#[derive(Debug)]
pub(super) enum Stored<'b> {
    /// A value in the current version.
    Value(Value<'b>),
    /// JSON from an earlier version: `{"ok": ..}` or `{"err": ..}`.
    Json(&'b [u8]),
}

/// A stored value and its origin.
#[derive(Debug)]
pub(super) struct Value<'b> {
    pub(super) side: Side,
    operation: &'b str,
    name: &'b str,
    names: u128,
    bytes: &'b [u8],
}

impl<'b> Stored<'b> {
    /// Parses a result to be replayed by `operation`, which is empty if unknown.
    pub(super) fn of(bytes: &'b [u8], operation: &str) -> Result<Self, Unreadable> {
        if bytes.first() == Some(&JSON) {
            return Ok(Self::Json(bytes));
        }
        let damaged = || Unreadable::Value("the data is damaged".into());
        let rest = match bytes {
            [MAGIC, VERSION, rest @ ..] => rest,
            [MAGIC, version, ..] => {
                return Err(Unreadable::Value(format!(
                    "it has format {version}, but this version of resilient reads format {VERSION} and JSON: \
                     use the version that wrote it until the record expires"
                )));
            }
            _ => return Err(damaged()),
        };
        let (side, rest) = match rest {
            [0, rest @ ..] => (Side::Ok, rest),
            [1, rest @ ..] => (Side::Err, rest),
            _ => return Err(damaged()),
        };
        let (names, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let mut reader = Reader::new(rest);
        let [made_by, name] = [reader.text(), reader.text()];
        let (made_by, name) = (made_by.map_err(|_| damaged())?, name.map_err(|_| damaged())?);
        if !made_by.is_empty() && !operation.is_empty() && made_by != operation {
            return Err(Unreadable::Operation(made_by.to_owned()));
        }
        let (names, bytes) = (u128::from_le_bytes(*names), reader.rest());
        Ok(Self::Value(Value { side, operation: made_by, name, names, bytes }))
    }
}

impl Value<'_> {
    /// Reads the value if it has this type. The type names, without modules, must match too.
    pub(super) fn read<T: Serialize + DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let expected = type_name::<T>();
        if owned(&expected) == owned(self.name) {
            self.read_alike()
        } else {
            Err(self.mismatch(&expected, ""))
        }
    }

    /// Reads the value if it has the shape of this type, whatever its name.
    pub(super) fn read_alike<T: Serialize + DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let expected = type_name::<T>();
        let value: T =
            value_of(self.bytes).map_err(|fault| self.mismatch(&expected, &format!(": {fault}")))?;
        let again = Image::of(&value)?;
        if again.is_like(self.bytes, self.names) {
            Ok(value)
        } else {
            Err(self.mismatch(&expected, ", whose fields have changed"))
        }
    }

    pub(super) fn mismatch(&self, expected: &str, why: &str) -> Unreadable {
        let by = if self.operation.is_empty() {
            String::new()
        } else {
            format!(" of operation `{}`", self.operation)
        };
        let stored = self.name;
        Unreadable::Value(format!("found `{stored}`{by}, expected `{expected}`{why}"))
    }
}

/// Reads a value written by an earlier version, if its JSON is exact.
pub(super) fn from_json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    let read = catch_unwind(AssertUnwindSafe(|| {
        let value: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let again = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
        if again == bytes { Ok(value) } else { Err("it reads back as a different value".to_owned()) }
    }));
    let read = read.unwrap_or_else(|_| Err("reading it panicked".into()));
    read.map_err(|why| {
        Unreadable::Value(format!(
            "it was saved as JSON by an earlier version of resilient and cannot be read exactly: {why}"
        ))
    })
}

/// A type's name without modules. It does not depend on the module or the compiler.
pub(crate) fn type_name<T: ?Sized>() -> String {
    short(std::any::type_name::<T>())
}

fn short(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("::") {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            short.truncate(short.trim_end_matches(is_part).len());
            rest = after;
        } else {
            short.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    if short.len() > LONGEST_NAME {
        let Fingerprint(rest) = Fingerprint::of(&short);
        short.truncate(short.floor_char_boundary(LONGEST_NAME - 40));
        short = format!("{short}..{rest:x}");
    }
    short
}

/// Maps the name of a borrowed type to the name of the owned type.
fn owned(name: &str) -> &str {
    match name.trim_start_matches('&') {
        "str" => "String",
        name => name,
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
