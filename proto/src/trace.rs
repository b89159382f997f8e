//! Traces: which messages their publishers want to see in one, and where spans about them go.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The target of spans that follow a message through the service. They go to the trace collector, not
/// into the log, and cost nothing where there is no collector.
pub const TARGET: &str = "highwater::trace";

/// The W3C trace context of an encoded `highwater.client.v1.Message`, if its sampled flag is set. The
/// rest of the message is skipped, not decoded.
pub fn sampled_traceparent(message: &[u8]) -> Option<&str> {
    const TRACEPARENT_TAG: u32 = 6;
    let mut rest = message;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        if tag == TRACEPARENT_TAG && wire_type == WireType::LengthDelimited {
            let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let text = std::str::from_utf8(rest.get(..len)?).ok()?;
            return is_sampled(text).then_some(text);
        }
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
    }
    None
}

/// Whether the last of the flags is set (W3C Trace Context, section 3.2.2.5).
pub fn is_sampled(traceparent: &str) -> bool {
    let flags = traceparent.as_bytes().last_chunk::<3>();
    flags.is_some_and(|[dash, _, low]| {
        *dash == b'-'
            && char::from(*low)
                .to_digit(16)
                .is_some_and(|bits| bits & 1 == 1)
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::client::{Header, Message};

    #[test]
    fn the_context_of_a_sampled_message_is_found_behind_everything_else() {
        let message = |flags: &str| Message {
            payload: b"payload".as_slice().into(),
            headers: vec![Header {
                name: "a".into(),
                value: "b".into(),
            }],
            key: "key".into(),
            ttl_ms: 1_000,
            traceparent: format!("00-{}-{}-{flags}", "a".repeat(32), "b".repeat(16)),
            ..Message::default()
        };
        let sampled = message("01");
        assert_eq!(
            sampled_traceparent(&sampled.encode_to_vec()),
            Some(sampled.traceparent.as_str())
        );
        assert_eq!(sampled_traceparent(&message("02").encode_to_vec()), None);
        assert_eq!(sampled_traceparent(&[]), None);
        let bytes = sampled.encode_to_vec();
        for cut in 0..bytes.len() {
            assert_eq!(sampled_traceparent(&bytes[..cut]), None);
        }
    }
}
