//! Strings and binary data as they stand in a packet: slices of it, valid once constructed.

use std::fmt;

use bytes::Bytes;

/// Longest string or binary data, which has a length of two bytes before it.
pub const FIELD_BYTES_MAX: usize = u16::MAX as usize;

/// Why bytes are not a [`Text`] or [`Binary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// More than [`FIELD_BYTES_MAX`] bytes.
    #[error("longer than {FIELD_BYTES_MAX} bytes")]
    TooLong,
    /// Not well-formed UTF-8, which surrogates are not either (MQTT-1.5.4-1).
    #[error("not well-formed UTF-8")]
    NotUtf8,
    /// With U+0000 (MQTT-1.5.4-2).
    #[error("with the null character")]
    Nul,
}

/// A UTF-8 encoded string (MQTT 5.0, section 1.5.4).
///
/// Control characters and non-characters are taken: the specification leaves that choice to the
/// receiver. U+FEFF is a character like any other and stays where it is (MQTT-1.5.4-3).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// A text that the program itself holds.
    ///
    /// # Panics
    ///
    /// When it is no text in the sense of MQTT, which the first run shows.
    pub fn from_static(text: &'static str) -> Text {
        let text = Text::try_from(Bytes::from_static(text.as_bytes()));
        text.expect("a literal without U+0000 and shorter than 64 KiB")
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        // Looked at again rather than trusted, since this crate has no unsafe code: a few nanoseconds for
        // a topic. It is UTF-8 by construction, so the default is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no character.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same text in memory of its own.
    ///
    /// A decoded text keeps the whole read buffer alive. What outlives its packet, such as a client
    /// identifier or a filter, is detached first.
    pub fn detached(&self) -> Text {
        Text(Bytes::copy_from_slice(&self.0))
    }
}

impl TryFrom<Bytes> for Text {
    type Error = TextError;

    fn try_from(bytes: Bytes) -> Result<Text, TextError> {
        if bytes.len() > FIELD_BYTES_MAX {
            return Err(TextError::TooLong);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| TextError::NotUtf8)?;
        match text.as_bytes().contains(&0) {
            true => Err(TextError::Nul),
            false => Ok(Text(bytes)),
        }
    }
}

impl TryFrom<&str> for Text {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Text, TextError> {
        Text::try_from(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl TryFrom<String> for Text {
    type Error = TextError;

    fn try_from(text: String) -> Result<Text, TextError> {
        Text::try_from(Bytes::from(text))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Binary data (MQTT 5.0, section 1.5.6): passwords, tokens, correlation data, the payload of a will.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(Bytes);

impl Binary {
    /// The data.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The data in memory of its own; see [`Text::detached`].
    pub fn detached(&self) -> Binary {
        Binary(Bytes::copy_from_slice(&self.0))
    }

    /// The data, still shared with the packet.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl TryFrom<Bytes> for Binary {
    type Error = TextError;

    fn try_from(bytes: Bytes) -> Result<Binary, TextError> {
        match bytes.len() {
            0..=FIELD_BYTES_MAX => Ok(Binary(bytes)),
            _ => Err(TextError::TooLong),
        }
    }
}

/// Says how long it is and no more: it may be a password.
impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_utf8_without_the_null_character() {
        for (bytes, expected) in [
            (&b"a/b"[..], Ok(())),
            (b"", Ok(())),
            ("\u{FEFF}x".as_bytes(), Ok(())),
            ("\u{FFFF}".as_bytes(), Ok(())),
            ("\u{1}\u{7F}\u{9F}".as_bytes(), Ok(())),
            ("\u{10FFFF}".as_bytes(), Ok(())),
            (b"a\0b", Err(TextError::Nul)),
            // U+D800, alone and as half of a pair in CESU-8.
            (b"\xED\xA0\x80", Err(TextError::NotUtf8)),
            (b"\xED\xA0\xBD\xED\xB8\x80", Err(TextError::NotUtf8)),
            // Overlong: U+0000 in two bytes, `/` in two.
            (b"\xC0\x80", Err(TextError::NotUtf8)),
            (b"\xC0\xAF", Err(TextError::NotUtf8)),
            // Beyond U+10FFFF, a lone continuation, a sequence cut off.
            (b"\xF4\x90\x80\x80", Err(TextError::NotUtf8)),
            (b"\x80", Err(TextError::NotUtf8)),
            (b"\xE2\x82", Err(TextError::NotUtf8)),
        ] {
            let text = Text::try_from(Bytes::copy_from_slice(bytes));
            assert_eq!(text.map(drop), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_field_ends_at_64_kib() {
        let longest = Bytes::from(vec![b'x'; FIELD_BYTES_MAX]);
        assert!(Text::try_from(longest.clone()).is_ok());
        assert!(Binary::try_from(longest).is_ok());
        let longer = Bytes::from(vec![b'x'; FIELD_BYTES_MAX + 1]);
        assert_eq!(Text::try_from(longer.clone()), Err(TextError::TooLong));
        assert_eq!(Binary::try_from(longer), Err(TextError::TooLong));
    }

    #[test]
    fn a_password_does_not_reach_a_log() {
        let secret = Binary::try_from(Bytes::from_static(b"secret")).unwrap();
        assert_eq!(format!("{secret:?}"), "Binary(6 bytes)");
    }
}
