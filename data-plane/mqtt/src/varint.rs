//! Variable byte integers: seven bits a byte, the lowest first (MQTT 5.0, section 1.5.5).

use crate::error::DecodeError;

/// The largest value, which four bytes hold.
pub(crate) const MAX: u32 = 268_435_455;

/// Reads the integer at the front, and how many bytes it takes. Nothing when it is cut off.
///
/// One that is longer than it needs to be is refused (MQTT-1.5.5-1). 3.1.1 does not say so, but its
/// own algorithm never writes one.
pub(crate) fn peek(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        match (index, byte) {
            (1.., 0) => return Err(DecodeError::LengthNotMinimal),
            (_, 0..=0x7F) => return Ok(Some((value, index + 1))),
            (3.., _) => return Err(DecodeError::LengthTooLong),
            _ => {}
        }
    }
    Ok(None)
}

/// How many bytes a value takes. Values above [`MAX`] have no encoding; callers refuse them before.
pub(crate) const fn encoded_len(value: u32) -> usize {
    match value {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

/// The encoding: the first so many bytes of the array.
pub(crate) const fn encode(value: u32) -> ([u8; 4], usize) {
    let len = encoded_len(value);
    let mut bytes = [0; 4];
    let mut index = 0;
    while index < len {
        let more = if index + 1 < len { 0x80 } else { 0 };
        bytes[index] = (value >> (7 * index) & 0x7F) as u8 | more;
        index += 1;
    }
    (bytes, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_borders_of_the_specification_round_trip() {
        for (value, expected) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (MAX, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            let (bytes, len) = encode(value);
            assert_eq!(&bytes[..len], expected);
            assert_eq!(peek(expected), Ok(Some((value, len))));
            assert_eq!(peek(&expected[..len - 1]), Ok(None), "{value} cut off");
        }
    }

    #[test]
    fn what_is_longer_than_needed_or_than_allowed_is_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xFF, 0x00], &[0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(peek(bytes), Err(DecodeError::LengthNotMinimal), "{bytes:?}");
        }
        let four = [0xFF, 0xFF, 0xFF, 0x80];
        assert_eq!(peek(&four), Err(DecodeError::LengthTooLong));
        assert_eq!(peek(&four[..3]), Ok(None));
    }
}
