//! Cuts one whole packet off the front of what was read, and refuses it from its header if it can.

use bytes::{Buf, Bytes, BytesMut};

use crate::{error::DecodeError, kind::Kind, limits::Limits, varint};

/// The fixed header of a packet whose body may not have arrived yet (MQTT 5.0, section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The packet's type.
    pub kind: Kind,
    /// The lower half of the first byte, right for the type.
    pub flags: u8,
    /// Bytes of the header itself, 2 to 5.
    header_bytes: usize,
    /// Bytes that follow it: the "remaining length".
    body_bytes: usize,
}

impl Header {
    /// Looks at the header. Nothing when it is not complete; wrong flags are noticed at the first byte,
    /// and a packet that is too large before its body is waited for.
    ///
    /// No room is made for the body: a client that only announces one shall not cost memory.
    pub fn peek(buf: &[u8], limits: &Limits) -> Result<Option<Header>, DecodeError> {
        let Some((&first, rest)) = buf.split_first() else {
            return Ok(None);
        };
        let (kind, flags) = Kind::of(first)?;
        let Some((body_bytes, length_bytes)) = varint::peek(rest)? else {
            return Ok(None);
        };
        let header = Header {
            kind,
            flags,
            header_bytes: 1 + length_bytes,
            body_bytes: body_bytes as usize,
        };
        let (bytes, max) = (header.packet_bytes(), limits.packet_bytes_max);
        match bytes > max {
            true => Err(DecodeError::PacketTooLarge { bytes, max }),
            false => Ok(Some(header)),
        }
    }

    /// Bytes of the whole packet.
    pub fn packet_bytes(&self) -> usize {
        self.header_bytes + self.body_bytes
    }

    /// Takes the packet out of the buffer this header was seen in, once it is all there.
    pub fn take(self, buf: &mut BytesMut) -> Option<Frame> {
        if buf.len() < self.packet_bytes() {
            return None;
        }
        buf.advance(self.header_bytes);
        let body = match self.body_bytes {
            // A ping shall not make the buffer a shared one.
            0 => Bytes::new(),
            len => buf.split_to(len).freeze(),
        };
        Some(Frame {
            kind: self.kind,
            flags: self.flags,
            body,
        })
    }
}

/// One packet, whole but not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The packet's type.
    pub kind: Kind,
    /// The lower half of the first byte, right for the type.
    pub flags: u8,
    /// Everything after the fixed header; it shares memory with the buffer it was read into.
    pub body: Bytes,
}

impl Frame {
    /// Takes the next packet out of the buffer. Nothing, and nothing taken, when it is not complete.
    pub fn take(buf: &mut BytesMut, limits: &Limits) -> Result<Option<Frame>, DecodeError> {
        let header = Header::peek(buf, limits)?;
        Ok(header.and_then(|header| header.take(buf)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        packet_bytes_max: 300,
        user_properties_max: 0,
        filters_max: 0,
    };

    #[test]
    fn a_packet_is_taken_when_its_last_byte_has_arrived() {
        let packet = [0x30, 0x03, 0x00, 0x01, b'a', 0xC0, 0x00];
        let mut buf = BytesMut::new();
        for byte in &packet[..4] {
            buf.extend_from_slice(&[*byte]);
            assert_eq!(Frame::take(&mut buf, &LIMITS), Ok(None));
        }
        buf.extend_from_slice(&packet[4..]);
        let publish = Frame::take(&mut buf, &LIMITS).unwrap().unwrap();
        assert_eq!((publish.kind, publish.body.len()), (Kind::Publish, 3));
        let ping = Frame::take(&mut buf, &LIMITS).unwrap().unwrap();
        assert_eq!((ping.kind, ping.body.len()), (Kind::PingReq, 0));
        assert!(buf.is_empty());
    }

    #[test]
    fn a_packet_is_refused_by_the_byte_that_is_wrong() {
        for (bytes, expected) in [
            (&[0x00][..], DecodeError::ReservedType(0)),
            (&[0x36], DecodeError::QosReserved),
            (&[0x38], DecodeError::DupWithoutQos),
            (
                &[0x60],
                DecodeError::HeaderFlags {
                    kind: Kind::PubRel,
                    flags: 0,
                },
            ),
            (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], DecodeError::LengthTooLong),
            (&[0x30, 0x80, 0x00], DecodeError::LengthNotMinimal),
            // 298 bytes of body and 3 of header: one more than allowed.
            (
                &[0x30, 0xAA, 0x02],
                DecodeError::PacketTooLarge {
                    bytes: 301,
                    max: 300,
                },
            ),
        ] {
            let mut buf = BytesMut::from(bytes);
            assert_eq!(Frame::take(&mut buf, &LIMITS), Err(expected));
            let mut shorter = BytesMut::from(&bytes[..bytes.len() - 1]);
            assert_eq!(Frame::take(&mut shorter, &LIMITS), Ok(None));
        }
        let mut largest = BytesMut::from(&[0x30, 0xA9, 0x02][..]);
        assert_eq!(Frame::take(&mut largest, &LIMITS), Ok(None));
    }
}
