//! Reads the fields of a packet's body, one after the other; texts and data stay slices of it.

use bytes::{Buf, Bytes};

use crate::{
    error::DecodeError,
    ids::PacketId,
    kind::Kind,
    text::{Binary, Text, TextError},
    varint,
};

/// What is left of a body, or of its properties.
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(body: Bytes) -> Reader {
        Reader(body)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.0.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.0.try_get_u16().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.0.try_get_u32().map_err(|_| DecodeError::Truncated)
    }

    /// A variable byte integer.
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, len) = varint::peek(&self.0)?.ok_or(DecodeError::Truncated)?;
        self.0.advance(len);
        Ok(value)
    }

    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketIdZero)
    }

    pub(crate) fn text(&mut self) -> Result<Text, DecodeError> {
        let len = self.u16()?;
        Text::try_from(self.bytes(len.into())?).map_err(|error| match error {
            TextError::Nul => DecodeError::TextHasNul,
            // The length has two bytes, so it is never too long.
            TextError::NotUtf8 | TextError::TooLong => DecodeError::TextNotUtf8,
        })
    }

    pub(crate) fn binary(&mut self) -> Result<Binary, DecodeError> {
        let len = self.u16()?;
        Binary::try_from(self.bytes(len.into())?).map_err(|_| DecodeError::Truncated)
    }

    /// The next so many bytes as a body of their own.
    pub(crate) fn part(&mut self, len: usize) -> Result<Reader, DecodeError> {
        self.bytes(len).map(Reader)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    /// Nothing may be left.
    pub(crate) fn finish(self, kind: Kind) -> Result<(), DecodeError> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(DecodeError::TrailingBytes(kind)),
        }
    }

    fn bytes(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        match len <= self.0.len() {
            true => Ok(self.0.split_to(len)),
            false => Err(DecodeError::Truncated),
        }
    }
}
