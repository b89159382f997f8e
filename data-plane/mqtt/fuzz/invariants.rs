//! What must hold for any bytes at all. The fuzz target runs it, and so does a test of the crate.

use bytes::BytesMut;
use highwater_mqtt::{DecodeError, Decoder, Frame, Limits, Packet, Version};

/// Small, so that the limits are met.
pub const LIMITS: Limits = Limits {
    packet_bytes_max: 4_096,
    user_properties_max: 4,
    filters_max: 4,
};

/// Takes the bytes for packets of both versions, whoever sent them, and for a whole connection.
pub fn check(bytes: &[u8]) {
    for version in [Version::V3_1_1, Version::V5] {
        let mut buf = BytesMut::from(bytes);
        loop {
            let before = buf.len();
            let Ok(Some(frame)) = Frame::take(&mut buf, &LIMITS) else {
                break;
            };
            let taken = before - buf.len();
            if let Ok(packet) = Packet::decode(frame, version, &LIMITS) {
                check_packet(&packet, taken, version);
            }
        }
    }
    for decoder in [
        Decoder::of_client(LIMITS),
        Decoder::of_server(Version::V3_1_1, LIMITS),
        Decoder::of_server(Version::V5, LIMITS),
    ] {
        let whole = packets_of(decoder.clone(), [bytes]);
        let byte_by_byte = packets_of(decoder, bytes.chunks(1));
        assert_eq!(whole, byte_by_byte);
    }
}

/// What was decoded is written in no more bytes, and these are the same packet.
fn check_packet(packet: &Packet, taken: usize, version: Version) {
    let mut encoded = BytesMut::new();
    let written = packet.encode(version, &mut encoded);
    assert_eq!(written, Ok(()), "{packet:?}");
    assert_eq!(packet.encoded_len(version), Ok(encoded.len()));
    assert!(encoded.len() <= taken, "{packet:?} grew from {taken} bytes");
    let canonical = encoded.clone();
    let frame = Frame::take(&mut encoded, &LIMITS);
    let frame = frame.expect("a frame").expect("a whole frame");
    let again = Packet::decode(frame, version, &LIMITS).expect("a packet");
    assert_eq!(&again, packet);
    let mut twice = BytesMut::new();
    let written = again.encode(version, &mut twice);
    assert_eq!((written, twice), (Ok(()), canonical));
    let bare = packet.clone().without_remarks();
    let bare_len = bare.encoded_len(version).expect("as before");
    assert!(bare_len <= taken);
}

/// The packets of one connection, and the error that ended it.
pub fn packets_of<'a>(
    mut decoder: Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Packet>, Option<DecodeError>) {
    let mut buf = BytesMut::new();
    let mut packets = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buf) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}
