//! AUTH: one step of an authentication that takes several, or of renewing it (section 3.15).

use crate::{
    error::DecodeError,
    kind::Kind,
    limits::Limits,
    packet::{Remarks, read_reason},
    property::{Property, Section},
    reader::Reader,
    reason::ReasonCode,
    sink::{Sink, WriteProperties},
    text::{Binary, Text},
    version::Version,
};

/// One step; 5.0 only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue authentication, or re-authenticate.
    pub reason: ReasonCode,
    /// The method and its data. Only a bare success has none.
    pub authentication: Option<Authentication>,
    /// What may be said beside.
    pub remarks: Remarks,
}

/// A method of authentication and what it has to say, in CONNECT, CONNACK and AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The method's name.
    pub method: Text,
    /// What the method sends.
    pub data: Option<Binary>,
}

impl Authentication {
    /// Data needs a method to be of (section 3.1.2.11.10).
    pub(crate) fn of(
        method: Option<Text>,
        data: Option<Binary>,
    ) -> Result<Option<Authentication>, DecodeError> {
        match (method, data) {
            (Some(method), data) => Ok(Some(Authentication { method, data })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(DecodeError::AuthenticationMethodMissing),
        }
    }

    pub(crate) fn write(authentication: Option<&Authentication>, sink: &mut impl Sink) {
        if let Some(Authentication { method, data }) = authentication {
            sink.text_property(Property::AuthenticationMethod, Some(method));
            sink.binary_property(Property::AuthenticationData, data.as_ref());
        }
    }
}

impl Auth {
    /// A step of a method.
    pub fn new(reason: ReasonCode, method: Text, data: Option<Binary>) -> Auth {
        Auth {
            reason,
            authentication: Some(Authentication { method, data }),
            remarks: Remarks::default(),
        }
    }

    /// Nothing at all means success; everything else has properties, with the method among them.
    pub(crate) fn decode(mut reader: Reader, limits: &Limits) -> Result<Auth, DecodeError> {
        let mut auth = Auth {
            reason: ReasonCode::Success,
            authentication: None,
            remarks: Remarks::default(),
        };
        if reader.is_empty() {
            return Ok(auth);
        }
        auth.reason = read_reason(&mut reader, Kind::Auth)?;
        let (mut method, mut data) = (None, None);
        let mut section = Section::open(&mut reader, Version::V5, limits)?;
        while let Some(property) = section.next()? {
            match property {
                Property::AuthenticationMethod => method = Some(section.text()?),
                Property::AuthenticationData => data = Some(section.binary()?),
                _ if auth.remarks.take(property, &mut section)? => {}
                _ => return section.misplaced(),
            }
        }
        auth.authentication = Authentication::of(method, data)?;
        if auth.authentication.is_none() {
            return Err(DecodeError::AuthenticationMethodMissing);
        }
        reader.finish(Kind::Auth)?;
        Ok(auth)
    }

    pub(crate) fn write(&self, sink: &mut impl Sink) {
        let bare = self.authentication.is_none() && self.remarks.is_empty();
        if !bare || self.reason != ReasonCode::Success {
            sink.u8(self.reason.number());
            sink.properties(self);
        }
    }
}

impl WriteProperties for Auth {
    fn write(&self, sink: &mut impl Sink) {
        Authentication::write(self.authentication.as_ref(), sink);
        self.remarks.write(sink);
    }
}
