//! Text of the wire: bytes known to be UTF-8, and the check that finds out piece by piece.

use std::{fmt, str};

use bytes::Bytes;

use crate::violation::Violation;

/// Bytes that are UTF-8, shared with the buffer they were read into.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Bytes);

impl Text {
    /// Text that was validated while it arrived.
    pub(crate) fn validated(bytes: Bytes) -> Text {
        debug_assert!(str::from_utf8(&bytes).is_ok());
        Text(bytes)
    }

    /// The text. It is looked at once more, which costs little beside parsing it and keeps the crate
    /// free of `unsafe`; a parser that takes bytes should be given [`Text::into_bytes`].
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("text was validated when it was made")
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the text, without copying.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl TryFrom<Bytes> for Text {
    type Error = Violation;

    fn try_from(bytes: Bytes) -> Result<Text, Violation> {
        match str::from_utf8(&bytes) {
            Ok(_) => Ok(Text(bytes)),
            Err(_) => Err(Violation::Utf8),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Validates text that arrives in pieces, and refuses it at the first byte that no continuation
/// could make valid.
#[derive(Debug, Default)]
pub(crate) struct Utf8 {
    /// The beginning of a character whose rest has not arrived.
    begun: [u8; 4],
    begun_len: u8,
}

impl Utf8 {
    /// Takes the next piece.
    pub(crate) fn check(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while self.begun_len > 0 {
            let Some((byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            self.continue_character(*byte)?;
        }
        if let Err(e) = str::from_utf8(piece) {
            if e.error_len().is_some() {
                return Err(Violation::Utf8);
            }
            let begun = &piece[e.valid_up_to()..];
            self.begun[..begun.len()].copy_from_slice(begun);
            self.begun_len = begun.len() as u8;
        }
        Ok(())
    }

    /// Whether the text may end here.
    pub(crate) fn finish(&self) -> Result<(), Violation> {
        match self.begun_len {
            0 => Ok(()),
            _ => Err(Violation::Utf8),
        }
    }

    fn continue_character(&mut self, byte: u8) -> Result<(), Violation> {
        let len = usize::from(self.begun_len);
        self.begun[len] = byte;
        match str::from_utf8(&self.begun[..=len]) {
            Ok(_) => self.begun_len = 0,
            Err(e) if e.error_len().is_none() => self.begun_len += 1,
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }
}
