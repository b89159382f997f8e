//! Where a packet is written to: a buffer, or a counter that says how long it will be.
//!
//! A packet has one function that writes it. Run on a [`Counter`] it gives the size, so that the size
//! that stands in the header and the bytes that follow cannot differ.

use bytes::{BufMut, BytesMut};

use crate::{
    property::Property,
    text::{Binary, Text},
    varint,
};

/// Takes the fields of a packet in order.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn varint(&mut self, value: u32) {
        let (bytes, len) = varint::encode(value);
        self.put(&bytes[..len]);
    }

    fn text(&mut self, text: &Text) {
        self.field(text.as_bytes());
    }

    fn binary(&mut self, data: &Binary) {
        self.field(data.as_bytes());
    }

    /// At most 64 KiB, as [`Text`] and [`Binary`] are by construction.
    fn field(&mut self, bytes: &[u8]) {
        self.u16(bytes.len() as u16);
        self.put(bytes);
    }

    /// Properties with their length before them.
    fn properties(&mut self, properties: &impl WriteProperties)
    where
        Self: Sized,
    {
        let mut len = Counter::default();
        properties.write(&mut len);
        self.varint(len.as_remaining_length());
        properties.write(self);
    }

    fn flag_property(&mut self, property: Property, value: Option<bool>) {
        if let Some(value) = value {
            self.put(&[property as u8, value.into()]);
        }
    }

    fn u16_property(&mut self, property: Property, value: Option<u16>) {
        if let Some(value) = value {
            self.u8(property as u8);
            self.u16(value);
        }
    }

    fn u32_property(&mut self, property: Property, value: Option<u32>) {
        if let Some(value) = value {
            self.u8(property as u8);
            self.u32(value);
        }
    }

    fn text_property(&mut self, property: Property, value: Option<&Text>) {
        if let Some(value) = value {
            self.u8(property as u8);
            self.text(value);
        }
    }

    fn binary_property(&mut self, property: Property, value: Option<&Binary>) {
        if let Some(value) = value {
            self.u8(property as u8);
            self.binary(value);
        }
    }

    fn user_properties(&mut self, pairs: &[(Text, Text)]) {
        for (name, value) in pairs {
            self.u8(Property::UserProperty as u8);
            self.text(name);
            self.text(value);
        }
    }
}

/// A set of properties that can be written, and with it counted.
pub(crate) trait WriteProperties {
    fn write(&self, sink: &mut impl Sink);
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

/// Counts the bytes it is given.
#[derive(Default)]
pub(crate) struct Counter(usize);

impl Counter {
    pub(crate) fn total(&self) -> usize {
        self.0
    }

    /// As a length before properties. Where it does not fit, the whole packet does not either and was
    /// refused before anything was written.
    fn as_remaining_length(&self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}
