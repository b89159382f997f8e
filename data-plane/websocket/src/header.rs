//! A frame's header: its fields, decoded and encoded (RFC 6455 section 5.2).

use std::ops::Deref;

use crate::violation::Violation;

/// Longest payload of a control frame, in bytes.
pub const CONTROL_BYTES_MAX: usize = 125;
/// Longest header, in bytes: two, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A further fragment of the message under way.
    Continuation,
    /// The first or only frame of a message of UTF-8 text.
    Text,
    /// The first or only frame of a binary message.
    Binary,
    /// The end of the connection.
    Close,
    /// A question that a pong answers.
    Ping,
    /// An answer to a ping, or a sign of life.
    Pong,
}

impl Opcode {
    /// Whether it may come between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    fn decode(bits: u8) -> Result<Opcode, Violation> {
        Ok(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return Err(Violation::ReservedOpcode),
        })
    }

    fn encode(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }
}

/// Everything in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// Whether a compressed message begins with this frame (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, in frames of clients.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload, below 2^63.
    pub len: u64,
}

impl Header {
    /// The header of a whole message in one unmasked, uncompressed frame, or of a control frame.
    pub fn of(opcode: Opcode, len: usize) -> Header {
        Header {
            fin: true,
            rsv1: false,
            opcode,
            mask: None,
            len: len as u64,
        }
    }

    /// The header at the beginning of the bytes and how long it is, or nothing when more bytes are
    /// needed.
    ///
    /// What no header may contain is refused as soon as the byte is there. Whether it must be masked,
    /// may be compressed and fits what came before is the [`crate::Decoder`]'s to know.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first & RSV2_RSV3 != 0 {
            return Err(Violation::ReservedBit);
        }
        let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
        let opcode = Opcode::decode(first & 0x0F)?;
        if opcode.is_control() && rsv1 {
            return Err(Violation::ReservedBit);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if opcode.is_control() && usize::from(second & !MASKED) > CONTROL_BYTES_MAX {
            return Err(Violation::ControlTooLong);
        }
        let Some((len, at)) = decode_length(second & !MASKED, &bytes[2..])? else {
            return Ok(None);
        };
        let mask_at = 2 + at;
        let mask = match second & MASKED {
            0 => None,
            _ => match bytes[mask_at..].first_chunk::<4>() {
                None => return Ok(None),
                Some(mask) => Some(*mask),
            },
        };
        let header = Header {
            fin,
            rsv1,
            opcode,
            mask,
            len,
        };
        Ok(Some((header, mask_at + mask.map_or(0, |_| 4))))
    }

    /// The bytes that stand in front of the payload.
    pub fn encode(&self) -> Encoded {
        let mut encoded = Encoded {
            bytes: [0; HEADER_BYTES_MAX],
            len: 0,
        };
        let fin = if self.fin { FIN } else { 0 };
        let rsv1 = if self.rsv1 { RSV1 } else { 0 };
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        encoded.push(&[fin | rsv1 | self.opcode.encode()]);
        match self.len {
            0..126 => encoded.push(&[masked | self.len as u8]),
            126..=0xFFFF => {
                encoded.push(&[masked | LENGTH_16]);
                encoded.push(&(self.len as u16).to_be_bytes());
            }
            _ => {
                encoded.push(&[masked | LENGTH_64]);
                encoded.push(&self.len.to_be_bytes());
            }
        }
        if let Some(mask) = self.mask {
            encoded.push(&mask);
        }
        encoded
    }
}

/// The length and how many bytes of `extended` it took.
fn decode_length(short: u8, extended: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        LENGTH_16 => {
            let Some(bytes) = extended.first_chunk::<2>() else {
                return Ok(None);
            };
            match u16::from_be_bytes(*bytes) {
                0..126 => Err(Violation::LengthNotMinimal),
                len => Ok(Some((u64::from(len), 2))),
            }
        }
        LENGTH_64 => {
            let Some(bytes) = extended.first_chunk::<8>() else {
                return Ok(None);
            };
            match u64::from_be_bytes(*bytes) {
                0..=0xFFFF => Err(Violation::LengthNotMinimal),
                len if len >> 63 != 0 => Err(Violation::LengthHighestBit),
                len => Ok(Some((len, 8))),
            }
        }
        len => Ok(Some((u64::from(len), 0))),
    }
}

/// An encoded header: at most 10 bytes in a server's frames, 14 in a client's.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Encoded {
    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
