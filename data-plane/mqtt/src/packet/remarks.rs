//! What a packet of 5.0 may say beside its reason code: a reason string and user properties.

use crate::{
    error::DecodeError,
    limits::Limits,
    property::{Property, Section, UserProperties},
    reader::Reader,
    sink::{Sink, WriteProperties},
    text::Text,
    version::Version,
};

/// Words about a reason code. They are the first to go where the receiver takes only small packets
/// (MQTT-3.4.2-2, MQTT-3.4.2-3) or asked for none (MQTT-3.1.2-29).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Why, for people to read.
    pub reason_string: Option<Text>,
    /// The user properties.
    pub user_properties: UserProperties,
}

impl Remarks {
    /// A reason string alone.
    pub fn because(reason: Text) -> Remarks {
        Remarks {
            reason_string: Some(reason),
            user_properties: UserProperties::new(),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }

    /// Reads the properties of a packet that has no others.
    pub(crate) fn decode(
        reader: &mut Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Remarks, DecodeError> {
        let mut remarks = Remarks::default();
        let mut section = Section::open(reader, version, limits)?;
        while let Some(property) = section.next()? {
            if !remarks.take(property, &mut section)? {
                return section.misplaced();
            }
        }
        Ok(remarks)
    }

    /// Reads a property if it is one of these.
    pub(crate) fn take(
        &mut self,
        property: Property,
        section: &mut Section,
    ) -> Result<bool, DecodeError> {
        match property {
            Property::ReasonString => self.reason_string = Some(section.text()?),
            Property::UserProperty => section.user_property(&mut self.user_properties)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl WriteProperties for Remarks {
    fn write(&self, sink: &mut impl Sink) {
        sink.text_property(Property::ReasonString, self.reason_string.as_ref());
        sink.user_properties(&self.user_properties);
    }
}
