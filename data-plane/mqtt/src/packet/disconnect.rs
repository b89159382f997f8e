//! DISCONNECT: the last packet of a connection, with the reason for its end (section 3.14).

use crate::{
    error::DecodeError,
    kind::Kind,
    limits::Limits,
    packet::{Remarks, read_reason},
    property::{Property, Section},
    reader::Reader,
    reason::ReasonCode,
    sink::{Sink, WriteProperties},
    text::Text,
    version::Version,
};

/// Why this is the end. In 3.1.1 it comes from the client only, and says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// The reason. A success makes the server forget the client's will.
    pub reason: ReasonCode,
    /// From the client: how long its session shall now live, in seconds.
    pub session_expiry_s: Option<u32>,
    /// From the server: where to go instead.
    pub server_reference: Option<Text>,
    /// What may be said beside.
    pub remarks: Remarks,
}

impl Disconnect {
    /// The reason alone.
    pub fn new(reason: ReasonCode) -> Disconnect {
        Disconnect {
            reason,
            session_expiry_s: None,
            server_reference: None,
            remarks: Remarks::default(),
        }
    }

    /// 5.0 may end before the reason, which means success, and after it, which means no properties
    /// (section 3.14.2.1, section 3.14.2.2.1).
    pub(crate) fn decode(
        mut reader: Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Disconnect, DecodeError> {
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        if version == Version::V5 && !reader.is_empty() {
            disconnect.reason = read_reason(&mut reader, Kind::Disconnect)?;
            if !reader.is_empty() {
                disconnect.decode_properties(&mut reader, limits)?;
            }
        }
        reader.finish(Kind::Disconnect)?;
        Ok(disconnect)
    }

    fn decode_properties(
        &mut self,
        reader: &mut Reader,
        limits: &Limits,
    ) -> Result<(), DecodeError> {
        let mut section = Section::open(reader, Version::V5, limits)?;
        while let Some(property) = section.next()? {
            match property {
                Property::SessionExpiry => self.session_expiry_s = Some(section.u32()?),
                Property::ServerReference => self.server_reference = Some(section.text()?),
                _ if self.remarks.take(property, &mut section)? => {}
                _ => return section.misplaced(),
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, version: Version, sink: &mut impl Sink) {
        let silent = self.session_expiry_s.is_none()
            && self.server_reference.is_none()
            && self.remarks.is_empty();
        if version == Version::V3_1_1 || silent && self.reason == ReasonCode::Success {
            return;
        }
        sink.u8(self.reason.number());
        if !silent {
            sink.properties(self);
        }
    }
}

impl WriteProperties for Disconnect {
    fn write(&self, sink: &mut impl Sink) {
        sink.u32_property(Property::SessionExpiry, self.session_expiry_s);
        sink.text_property(Property::ServerReference, self.server_reference.as_ref());
        self.remarks.write(sink);
    }
}
