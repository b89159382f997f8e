//! PUBACK, PUBREC, PUBREL and PUBCOMP: the steps that follow a message (MQTT 5.0, sections 3.4 to 3.7).
//!
//! The four have one shape, so they are one type; the variant of [`crate::Packet`] says which it is.

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

/// What became of the message with this identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The message's identifier.
    pub packet_id: PacketId,
    /// Success or failure. 3.1.1 can only say success, and whatever is here is written as that.
    pub reason: ReasonCode,
    /// What 5.0 adds.
    pub remarks: Remarks,
}

impl Ack {
    /// An acknowledgement without a word more than its reason.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Ack {
        Ack {
            packet_id,
            reason,
            remarks: Remarks::default(),
        }
    }

    /// 5.0 may end after the identifier, which means success, and after the reason, which means no
    /// properties (section 3.4.2.1, section 3.4.2.2.1).
    pub(crate) fn decode(
        kind: Kind,
        mut reader: Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Ack, DecodeError> {
        let mut ack = Ack::new(reader.packet_id()?, ReasonCode::Success);
        if version == Version::V5 && !reader.is_empty() {
            ack.reason = read_reason(&mut reader, kind)?;
            if !reader.is_empty() {
                ack.remarks = Remarks::decode(&mut reader, version, limits)?;
            }
        }
        reader.finish(kind)?;
        Ok(ack)
    }

    pub(crate) fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        let silent = self.remarks.is_empty();
        if version == Version::V3_1_1 || silent && self.reason == ReasonCode::Success {
            return;
        }
        sink.u8(self.reason.number());
        if !silent {
            sink.properties(&self.remarks);
        }
    }
}
