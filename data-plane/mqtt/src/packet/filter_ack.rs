//! SUBACK and UNSUBACK: one answer for each filter (MQTT 5.0, sections 3.9 and 3.11).
//!
//! The two have one shape, so they are one type; the variant of [`crate::Packet`] says which it is.

use crate::{
    error::DecodeError,
    ids::PacketId,
    kind::Kind,
    limits::Limits,
    packet::{Remarks, read_reason},
    reader::Reader,
    reason::ReasonCode,
    sink::Sink,
    version::Version,
};

/// What became of the filters of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterAck {
    /// The identifier of the packet that is answered.
    pub packet_id: PacketId,
    /// One answer for each filter, in their order. An UNSUBACK of 3.1.1 has none; in a SUBACK of 3.1.1
    /// every failure is written as 0x80.
    pub reasons: Vec<ReasonCode>,
    /// What 5.0 adds.
    pub remarks: Remarks,
}

impl FilterAck {
    /// Answers without a word more.
    pub fn new(packet_id: PacketId, reasons: Vec<ReasonCode>) -> FilterAck {
        FilterAck {
            packet_id,
            reasons,
            remarks: Remarks::default(),
        }
    }

    pub(crate) fn decode(
        kind: Kind,
        mut reader: Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<FilterAck, DecodeError> {
        let packet_id = reader.packet_id()?;
        let remarks = Remarks::decode(&mut reader, version, limits)?;
        let mut reasons = Vec::new();
        if (kind, version) == (Kind::UnsubAck, Version::V3_1_1) {
            reader.finish(kind)?;
        } else {
            while !reader.is_empty() {
                reasons.push(decode_reason(&mut reader, kind, version)?);
            }
            if reasons.is_empty() {
                return Err(DecodeError::NoReasons(kind));
            }
        }
        Ok(FilterAck {
            packet_id,
            reasons,
            remarks,
        })
    }

    pub(crate) fn write(&self, kind: Kind, version: Version, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            sink.properties(&self.remarks);
        } else if kind == Kind::UnsubAck {
            return;
        }
        for reason in &self.reasons {
            sink.u8(match version {
                Version::V3_1_1 if reason.is_failure() => ReasonCode::UnspecifiedError.number(),
                _ => reason.number(),
            });
        }
    }
}

fn decode_reason(
    reader: &mut Reader,
    kind: Kind,
    version: Version,
) -> Result<ReasonCode, DecodeError> {
    let reason = read_reason(reader, kind)?;
    match version {
        // 3.1.1 has a single way to fail (section 3.9.3 of it).
        Version::V3_1_1 if reason.is_failure() && reason != ReasonCode::UnspecifiedError => {
            Err(DecodeError::ReasonUnknown(reason.number()))
        }
        _ => Ok(reason),
    }
}
