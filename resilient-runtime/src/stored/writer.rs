//! Writes a value as an image of the serde data model.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{DEEPEST, Fault, Image, tag};
use crate::store::idempotency::Fingerprint;

/// The image written so far.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// The sum of the digests of all type names, so their order does not matter.
    names: u128,
    depth: u32,
}

/// The kind of type that a name stands for.
#[derive(Clone, Copy, Hash)]
enum Named {
    Struct,
    Unit,
    Newtype,
    Tuple,
    Variant(VariantKind),
}

#[derive(Clone, Copy, Hash)]
enum VariantKind {
    Unit,
    Newtype,
    Tuple,
    Struct,
}

impl Writer {
    pub(super) fn into_image(self) -> Image {
        Image { bytes: self.bytes, names: self.names }
    }

    fn name(&mut self, named: Named, name: &str) {
        let Fingerprint(name) = Fingerprint::of(&(named, name));
        self.names = self.names.wrapping_add(name);
    }

    fn put<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        self.bytes.push(tag);
        self.bytes.extend(bytes);
    }

    fn unsigned(&mut self, tag: u8, value: u128) {
        self.bytes.push(tag);
        number(&mut self.bytes, value);
    }

    fn signed(&mut self, tag: u8, value: i128) {
        self.unsigned(tag, ((value << 1) ^ (value >> 127)).cast_unsigned());
    }

    fn run(&mut self, tag: u8, bytes: &[u8]) {
        self.unsigned(tag, bytes.len() as u128);
        self.bytes.extend(bytes);
    }

    fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::new(format_args!("it is nested deeper than {DEEPEST} levels")));
        }
        Ok(())
    }

    /// Writes a value nested in another one.
    fn inside<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.enter()?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn open(&mut self, tag: u8) -> Result<&mut Self, Fault> {
        self.bytes.push(tag);
        self.enter()?;
        Ok(self)
    }

    fn close(&mut self) {
        self.bytes.push(tag::END);
        self.depth -= 1;
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Fault> {
        self.run(tag::STR, key.as_bytes());
        value.serialize(&mut *self)
    }
}

/// Writes a number in LEB128: seven bits per byte, lowest first; the last byte is below 128.
pub(super) fn number(bytes: &mut Vec<u8>, mut value: u128) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

impl<'w> Serializer for &'w mut Writer {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = &'w mut Writer;
    type SerializeTuple = &'w mut Writer;
    type SerializeTupleStruct = &'w mut Writer;
    type SerializeTupleVariant = &'w mut Writer;
    type SerializeMap = &'w mut Writer;
    type SerializeStruct = &'w mut Writer;
    type SerializeStructVariant = &'w mut Writer;

    /// Types with two forms are written as text: serde reads buffered values, as in an untagged enum, only in this
    /// form.
    fn is_human_readable(&self) -> bool {
        true
    }

    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.put(if value { tag::TRUE } else { tag::FALSE }, []);
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Fault> {
        self.signed(tag::I8, value.into());
        Ok(())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Fault> {
        self.signed(tag::I16, value.into());
        Ok(())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Fault> {
        self.signed(tag::I32, value.into());
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Fault> {
        self.signed(tag::I64, value.into());
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), Fault> {
        self.signed(tag::I128, value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Fault> {
        self.unsigned(tag::U8, value.into());
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Fault> {
        self.unsigned(tag::U16, value.into());
        Ok(())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Fault> {
        self.unsigned(tag::U32, value.into());
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Fault> {
        self.unsigned(tag::U64, value.into());
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), Fault> {
        self.unsigned(tag::U128, value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Fault> {
        self.put(tag::F32, value.to_bits().to_le_bytes());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Fault> {
        self.put(tag::F64, value.to_bits().to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.unsigned(tag::CHAR, u32::from(value).into());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.run(tag::STR, value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Fault> {
        self.run(tag::BYTES, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Fault> {
        self.put(tag::NONE, []);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.put(tag::SOME, []);
        self.inside(value)
    }

    fn serialize_unit(self) -> Result<(), Fault> {
        self.put(tag::UNIT, []);
        Ok(())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Fault> {
        self.name(Named::Unit, name);
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, variant: &'static str) -> Result<(), Fault> {
        self.name(Named::Variant(VariantKind::Unit), name);
        self.run(tag::UNIT_VARIANT, variant.as_bytes());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.name(Named::Newtype, name);
        self.inside(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.name(Named::Variant(VariantKind::Newtype), name);
        self.run(tag::VARIANT, variant.as_bytes());
        self.inside(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<&'w mut Writer, Fault> {
        self.open(tag::SEQ)
    }

    fn serialize_tuple(self, _: usize) -> Result<&'w mut Writer, Fault> {
        self.open(tag::TUPLE)
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<&'w mut Writer, Fault> {
        self.name(Named::Tuple, name);
        self.open(tag::TUPLE)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<&'w mut Writer, Fault> {
        self.name(Named::Variant(VariantKind::Tuple), name);
        self.run(tag::VARIANT, variant.as_bytes());
        self.open(tag::TUPLE)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<&'w mut Writer, Fault> {
        self.open(tag::MAP)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<&'w mut Writer, Fault> {
        self.name(Named::Struct, name);
        self.open(tag::STRUCT)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<&'w mut Writer, Fault> {
        self.name(Named::Variant(VariantKind::Struct), name);
        self.run(tag::VARIANT, variant.as_bytes());
        self.open(tag::STRUCT)
    }
}

/// Compound types: their elements are written in order, followed by the end tag.
macro_rules! parts {
    ($($trait:ident: $part:ident($($key:ident: $type:ty)?) by $by:ident;)+) => {$(
        impl $trait for &mut Writer {
            type Ok = ();
            type Error = Fault;

            fn $part<T: Serialize + ?Sized>(&mut self, $($key: $type,)? value: &T) -> Result<(), Fault> {
                parts!(@$by self, value $(, $key)?)
            }

            fn end(self) -> Result<(), Fault> {
                self.close();
                Ok(())
            }
        }
    )+};
    (@value $writer:ident, $value:ident) => { $value.serialize(&mut **$writer) };
    (@field $writer:ident, $value:ident, $key:ident) => { $writer.field($key, $value) };
}

parts! {
    SerializeSeq: serialize_element() by value;
    SerializeTuple: serialize_element() by value;
    SerializeTupleStruct: serialize_field() by value;
    SerializeTupleVariant: serialize_field() by value;
    SerializeStruct: serialize_field(key: &'static str) by field;
    SerializeStructVariant: serialize_field(key: &'static str) by field;
}

impl SerializeMap for &mut Writer {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Fault> {
        self.close();
        Ok(())
    }
}
