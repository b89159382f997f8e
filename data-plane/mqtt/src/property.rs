//! The properties of 5.0: their numbers, and the reader that holds what is true of all of them.
//!
//! Each packet reads its own properties in a loop over `Section::next` and thereby says which it
//! may have. A property that is repeated is refused here, once for all (section 2.2.2.2).

use std::{
    fmt,
    num::{NonZeroU16, NonZeroU32},
};

use crate::{
    error::DecodeError,
    ids,
    limits::Limits,
    reader::Reader,
    text::{Binary, Text},
    topic,
    version::Version,
};

/// Names and values that the application gives a meaning to, in the order they came; names may repeat.
pub type UserProperties = Vec<(Text, Text)>;

/// A property identifier (MQTT 5.0, section 2.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Property {
    PayloadFormat = 0x01,
    MessageExpiry = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionId = 0x0B,
    SessionExpiry = 0x11,
    AssignedClientId = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelay = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMax = 0x21,
    TopicAliasMax = 0x22,
    TopicAlias = 0x23,
    QosMax = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    PacketBytesMax = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

use Property::*;

/// Every property with its name as the specification writes it, in order of their numbers.
#[rustfmt::skip]
const TABLE: &[(Property, &str)] = &[
    (PayloadFormat, "payload format indicator"),
    (MessageExpiry, "message expiry interval"),
    (ContentType, "content type"),
    (ResponseTopic, "response topic"),
    (CorrelationData, "correlation data"),
    (SubscriptionId, "subscription identifier"),
    (SessionExpiry, "session expiry interval"),
    (AssignedClientId, "assigned client identifier"),
    (ServerKeepAlive, "server keep alive"),
    (AuthenticationMethod, "authentication method"),
    (AuthenticationData, "authentication data"),
    (RequestProblemInformation, "request problem information"),
    (WillDelay, "will delay interval"),
    (RequestResponseInformation, "request response information"),
    (ResponseInformation, "response information"),
    (ServerReference, "server reference"),
    (ReasonString, "reason string"),
    (ReceiveMax, "receive maximum"),
    (TopicAliasMax, "topic alias maximum"),
    (TopicAlias, "topic alias"),
    (QosMax, "maximum QoS"),
    (RetainAvailable, "retain available"),
    (UserProperty, "user property"),
    (PacketBytesMax, "maximum packet size"),
    (WildcardSubscriptionAvailable, "wildcard subscription available"),
    (SubscriptionIdAvailable, "subscription identifier available"),
    (SharedSubscriptionAvailable, "shared subscription available"),
];

/// The properties by their numbers, all of which are below 64.
const BY_NUMBER: [Option<Property>; 64] = {
    let mut by_number = [None; 64];
    let mut index = 0;
    while index < TABLE.len() {
        let property = TABLE[index].0;
        by_number[property as usize] = Some(property);
        index += 1;
    }
    by_number
};

impl Property {
    /// Every property, in order of its number.
    pub fn all() -> impl Iterator<Item = Property> {
        TABLE.iter().map(|row| row.0)
    }

    /// The property with this identifier.
    ///
    /// An identifier is a variable byte integer, and all that exist take one byte of it.
    pub fn from_number(number: u8) -> Option<Property> {
        BY_NUMBER.get(usize::from(number)).copied().flatten()
    }

    /// Its name as the specification writes it, in lower case.
    pub fn name(self) -> &'static str {
        let row = TABLE.iter().find(|row| row.0 == self);
        row.map_or("property", |row| row.1)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The properties of one packet, or of its will, while they are read.
pub(crate) struct Section<'a> {
    reader: Reader,
    limits: &'a Limits,
    /// The property whose value comes next.
    current: Property,
    /// A bit for each identifier that was there; the highest is 0x2A.
    seen: u64,
    /// The property that may be there more than once, besides the user property.
    repeatable: Option<Property>,
}

impl<'a> Section<'a> {
    /// Cuts the properties off a body. In 3.1.1 there are none, not even their length.
    pub(crate) fn open(
        reader: &mut Reader,
        version: Version,
        limits: &'a Limits,
    ) -> Result<Section<'a>, DecodeError> {
        let len = match version {
            Version::V3_1_1 => 0,
            Version::V5 => reader.varint()?,
        };
        Ok(Section {
            reader: reader.part(len as usize)?,
            limits,
            current: UserProperty,
            seen: 0,
            repeatable: None,
        })
    }

    /// Lets one more property come several times.
    pub(crate) fn repeatable(self, property: Property) -> Section<'a> {
        Section {
            repeatable: Some(property),
            ..self
        }
    }

    /// The next property; its value is read after.
    pub(crate) fn next(&mut self) -> Result<Option<Property>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let number = self.reader.u8()?;
        let property = Property::from_number(number);
        let property = property.ok_or(DecodeError::PropertyUnknown(number))?;
        let bit = 1 << number;
        let may_repeat = property == UserProperty || self.repeatable == Some(property);
        if self.seen & bit != 0 && !may_repeat {
            return Err(DecodeError::PropertyRepeated(property));
        }
        self.seen |= bit;
        self.current = property;
        Ok(Some(property))
    }

    /// The current property is none of this packet's.
    pub(crate) fn misplaced<T>(&self) -> Result<T, DecodeError> {
        Err(DecodeError::PropertyMisplaced(self.current))
    }

    /// The value is out of its property's range.
    pub(crate) fn out_of_range(&self) -> DecodeError {
        DecodeError::PropertyValue(self.current)
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.out_of_range()),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.reader.u16()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.reader.u32()
    }

    pub(crate) fn nonzero_u16(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.reader.u16()?).ok_or(self.out_of_range())
    }

    pub(crate) fn nonzero_u32(&mut self) -> Result<NonZeroU32, DecodeError> {
        NonZeroU32::new(self.reader.u32()?).ok_or(self.out_of_range())
    }

    pub(crate) fn subscription_id(&mut self) -> Result<ids::SubscriptionId, DecodeError> {
        ids::SubscriptionId::new(self.reader.varint()?).ok_or(self.out_of_range())
    }

    pub(crate) fn text(&mut self) -> Result<Text, DecodeError> {
        self.reader.text()
    }

    pub(crate) fn binary(&mut self) -> Result<Binary, DecodeError> {
        self.reader.binary()
    }

    /// A topic name, where an answer is expected (MQTT-3.3.2-14).
    pub(crate) fn response_topic(&mut self) -> Result<topic::Name, DecodeError> {
        let name = topic::Name::try_from(self.reader.text()?);
        name.map_err(|invalid| DecodeError::ResponseTopic(invalid.fault()))
    }

    pub(crate) fn user_property(&mut self, pairs: &mut UserProperties) -> Result<(), DecodeError> {
        let max = self.limits.user_properties_max;
        if pairs.len() >= max {
            return Err(DecodeError::TooManyUserProperties { max });
        }
        pairs.push((self.reader.text()?, self.reader.text()?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_finds_every_property() {
        assert!(Property::all().is_sorted_by(|a, b| (*a as u8) < *b as u8));
        assert_eq!(Property::all().count(), 27);
        for property in Property::all() {
            assert_eq!(Property::from_number(property as u8), Some(property));
        }
        for unknown in [0x00, 0x04, 0x0A, 0x1D, 0x20, 0x2B, 0x80, 0xFF] {
            assert_eq!(Property::from_number(unknown), None);
        }
    }
}
