//! Reads values written by [`Writer`](super::writer::Writer).

use std::hash::Hasher;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{DEEPEST, Fault, tag};
use crate::store::idempotency::{Fingerprint, Printer};

/// The bytes left to read.
#[derive(Debug)]
pub(super) struct Reader<'de> {
    rest: &'de [u8],
    depth: u32,
}

fn damaged() -> Fault {
    Fault::new("the data is damaged")
}

impl<'de> Reader<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    pub(super) fn rest(self) -> &'de [u8] {
        self.rest
    }

    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(damaged()) }
    }

    fn peek(&self) -> Result<u8, Fault> {
        self.rest.first().copied().ok_or_else(damaged)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let (byte, rest) = self.rest.split_first().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn number<T: TryFrom<u128>>(&mut self) -> Result<T, Fault> {
        let (mut number, mut shift) = (0_u128, 0_u32);
        loop {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            let moved = part.checked_shl(shift).filter(|moved| moved >> shift == part).ok_or_else(damaged)?;
            number |= moved;
            if byte & 0x80 == 0 {
                return T::try_from(number).map_err(|_| damaged());
            }
            shift += 7;
        }
    }

    fn signed<T: TryFrom<i128>>(&mut self) -> Result<T, Fault> {
        let number: u128 = self.number()?;
        let number = (number >> 1).cast_signed() ^ -((number & 1).cast_signed());
        T::try_from(number).map_err(|_| damaged())
    }

    fn run(&mut self) -> Result<&'de [u8], Fault> {
        let length: usize = self.number()?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'de str, Fault> {
        std::str::from_utf8(self.run()?).map_err(|_| damaged())
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.peek()? != tag::END {
            return Err(Fault::new("it has more elements than expected"));
        }
        self.byte().map(drop)
    }

    /// Reads a value one level deeper.
    fn inside<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= DEEPEST {
            return Err(Fault::new(format_args!("it is nested deeper than {DEEPEST} levels")));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    fn is_human_readable(&self) -> bool {
        true
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.byte()? {
            tag::UNIT => visitor.visit_unit(),
            tag::FALSE => visitor.visit_bool(false),
            tag::TRUE => visitor.visit_bool(true),
            tag::I8 => visitor.visit_i8(self.signed()?),
            tag::I16 => visitor.visit_i16(self.signed()?),
            tag::I32 => visitor.visit_i32(self.signed()?),
            tag::I64 => visitor.visit_i64(self.signed()?),
            tag::I128 => visitor.visit_i128(self.signed()?),
            tag::U8 => visitor.visit_u8(self.number()?),
            tag::U16 => visitor.visit_u16(self.number()?),
            tag::U32 => visitor.visit_u32(self.number()?),
            tag::U64 => visitor.visit_u64(self.number()?),
            tag::U128 => visitor.visit_u128(self.number()?),
            tag::F32 => visitor.visit_f32(f32::from_bits(u32::from_le_bytes(self.fixed()?))),
            tag::F64 => visitor.visit_f64(f64::from_bits(u64::from_le_bytes(self.fixed()?))),
            tag::CHAR => visitor.visit_char(char::from_u32(self.number()?).ok_or_else(damaged)?),
            tag::BYTES => visitor.visit_borrowed_bytes(self.run()?),
            tag::NONE => visitor.visit_none(),
            tag::SOME => self.inside(|reader| visitor.visit_some(reader)),
            // Like JSON, present a variant as a map or string to a visitor that accepts any value, such as the visitor
            // of an untagged enum.
            tag::STR | tag::UNIT_VARIANT => visitor.visit_borrowed_str(self.text()?),
            tag::VARIANT => {
                let variant = self.text()?;
                self.inside(|reader| visitor.visit_map(OneEntry { variant: Some(variant), reader }))
            }
            tag::SEQ | tag::TUPLE => {
                let value = self.inside(|reader| visitor.visit_seq(Parts(reader)))?;
                self.end()?;
                Ok(value)
            }
            tag::MAP | tag::STRUCT => {
                let value = self.inside(|reader| visitor.visit_map(Parts(reader)))?;
                self.end()?;
                Ok(value)
            }
            _ => Err(damaged()),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.peek()? {
            tag::NONE | tag::SOME => self.deserialize_any(visitor),
            _ => self.inside(|reader| visitor.visit_some(reader)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.inside(|reader| visitor.visit_newtype_struct(reader))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.byte()? {
            tag::UNIT_VARIANT | tag::STR => {
                let variant: BorrowedStrDeserializer<'de, Fault> = BorrowedStrDeserializer::new(self.text()?);
                visitor.visit_enum(variant)
            }
            tag::VARIANT => {
                let variant = self.text()?;
                self.inside(|reader| visitor.visit_enum(Variant { variant, reader }))
            }
            // A custom `Serialize` may write an enum as a map with one entry.
            tag::MAP | tag::STRUCT => {
                if self.byte()? != tag::STR {
                    return Err(Fault::new("expected an enum, found a map"));
                }
                let variant = self.text()?;
                let value = self.inside(|reader| visitor.visit_enum(Variant { variant, reader }))?;
                self.end()?;
                Ok(value)
            }
            _ => Err(Fault::new("expected an enum")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

/// The elements up to the end tag, which is not consumed.
struct Parts<'r, 'de>(&'r mut Reader<'de>);

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.0.peek()? == tag::END { Ok(None) } else { seed.deserialize(&mut *self.0).map(Some) }
    }
}

impl<'de> MapAccess<'de> for Parts<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.0.peek()? == tag::END { Ok(None) } else { seed.deserialize(&mut *self.0).map(Some) }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.0)
    }
}

/// A variant as a map with one entry: its name and its value.
struct OneEntry<'r, 'de> {
    variant: Option<&'de str>,
    reader: &'r mut Reader<'de>,
}

impl<'de> MapAccess<'de> for OneEntry<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(variant) = self.variant.take() else { return Ok(None) };
        let variant: BorrowedStrDeserializer<'de, Fault> = BorrowedStrDeserializer::new(variant);
        seed.deserialize(variant).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.reader)
    }
}

struct Variant<'r, 'de> {
    variant: &'de str,
    reader: &'r mut Reader<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name: serde::de::value::StrDeserializer<'_, Fault> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(Fault::new(format_args!("the variant `{}` has a value", self.variant)))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.reader.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.reader.deserialize_any(visitor)
    }
}

/// Computes a digest of a value. The order of its sets and maps does not matter.
pub(super) fn digest(bytes: &[u8]) -> Result<u128, Fault> {
    let mut reader = Reader::new(bytes);
    let digest = digest_of(&mut reader)?;
    reader.finish()?;
    Ok(digest)
}

fn digest_of(reader: &mut Reader<'_>) -> Result<u128, Fault> {
    let before = reader.rest;
    let mut printer = Printer::default();
    let tag = reader.byte()?;
    match tag {
        tag::F32 => drop(reader.fixed::<4>()?),
        tag::F64 => drop(reader.fixed::<8>()?),
        tag::STR | tag::BYTES | tag::UNIT_VARIANT | tag::VARIANT => drop(reader.run()?),
        tag::I8..=tag::U128 | tag::CHAR => drop(reader.number::<u128>()?),
        _ => {}
    }
    printer.write(&before[..before.len() - reader.rest.len()]);
    match tag {
        tag::SOME | tag::VARIANT => printer.write_u128(reader.inside(digest_of)?),
        tag::TUPLE | tag::STRUCT => reader.inside(|reader| {
            while reader.peek()? != tag::END {
                printer.write_u128(digest_of(reader)?);
            }
            reader.end()
        })?,
        tag::SEQ | tag::MAP => {
            let sum = reader.inside(|reader| {
                let mut sum = 0_u128;
                while reader.peek()? != tag::END {
                    let mut part = Printer::default();
                    part.write_u128(digest_of(reader)?);
                    if tag == tag::MAP {
                        part.write_u128(digest_of(reader)?);
                    }
                    let Fingerprint(part) = part.fingerprint();
                    sum = sum.wrapping_add(part);
                }
                reader.end()?;
                Ok(sum)
            })?;
            printer.write_u128(sum);
        }
        _ => {}
    }
    let Fingerprint(digest) = printer.fingerprint();
    Ok(digest)
}
