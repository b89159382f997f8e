//! PUBLISH: a message on its way, to the server or from it (MQTT 5.0, section 3.3).

use std::num::NonZeroU16;

use bytes::Bytes;

use crate::{
    error::{DecodeError, EncodeError},
    ids::{PacketId, Qos, SubscriptionId},
    kind,
    limits::Limits,
    property::{Property, Section, UserProperties},
    reader::Reader,
    sink::{Sink, WriteProperties},
    text::{Binary, Text},
    topic::{Invalid, Name},
    version::Version,
};

/// A message. A server that sends it to many encodes it through [`crate::template::Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The QoS, and with it what is needed to acknowledge.
    pub delivery: Delivery,
    /// To the server: keep this message. From the server: this message was kept.
    pub retain: bool,
    /// Where it belongs.
    pub topic: Topic,
    /// The properties of 5.0, without the topic alias, which is in the topic.
    pub properties: Properties,
    /// The message itself.
    pub payload: Bytes,
}

/// The QoS of a message and what goes with it: QoS 0 has no identifier, and is never a repetition
/// (MQTT-2.2.1-2, MQTT-3.3.1-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// What the PUBACK will name.
        id: PacketId,
        /// Whether it may have been sent before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// What the PUBREC will name.
        id: PacketId,
        /// Whether it may have been sent before.
        dup: bool,
    },
}

/// A topic alias: a number that stands for a topic on one connection. It is never 0 (MQTT-3.3.2-8).
pub type Alias = NonZeroU16;

/// What a PUBLISH says of its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// A topic name, for which the alias, if there is one, shall stand from now on.
    Name(Name, Option<Alias>),
    /// An alias that stands for a name given before; 5.0 only.
    Alias(Alias),
    /// A text that is no topic name. The message is to be refused with 0x90, in a PUBACK or PUBREC where
    /// there is one. Decoding 3.1.1 refuses it itself, since nothing but closing is left to do there.
    Invalid(Invalid, Option<Alias>),
}

/// The properties of a PUBLISH (section 3.3.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Whether the payload is text.
    pub payload_is_text: Option<bool>,
    /// How long the message is still of use, in seconds.
    pub message_expiry_s: Option<u32>,
    /// What the payload is, usually a media type.
    pub content_type: Option<Text>,
    /// Where an answer is expected.
    pub response_topic: Option<Name>,
    /// What an answer is told by.
    pub correlation_data: Option<Binary>,
    /// From the server: the client's identifiers of the subscriptions that matched.
    pub subscription_ids: Vec<SubscriptionId>,
    /// The user properties, for the subscribers.
    pub user_properties: UserProperties,
}

impl Delivery {
    /// The QoS by itself.
    pub fn qos(self) -> Qos {
        match self {
            Delivery::AtMostOnce => Qos::AtMostOnce,
            Delivery::AtLeastOnce { .. } => Qos::AtLeastOnce,
            Delivery::ExactlyOnce { .. } => Qos::ExactlyOnce,
        }
    }

    /// The identifier, except with QoS 0.
    pub fn packet_id(self) -> Option<PacketId> {
        match self {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { id, .. } | Delivery::ExactlyOnce { id, .. } => Some(id),
        }
    }

    /// The flags of the first byte (section 3.3.1).
    pub(crate) fn flags(self, retain: bool) -> u8 {
        let dup = match self {
            Delivery::AtLeastOnce { dup: true, .. } | Delivery::ExactlyOnce { dup: true, .. } => {
                kind::DUP
            }
            _ => 0,
        };
        dup | (self.qos() as u8) << 1 | if retain { kind::RETAIN } else { 0 }
    }

    fn decode(flags: u8, reader: &mut Reader) -> Result<Delivery, DecodeError> {
        let dup = flags & kind::DUP != 0;
        match flags >> 1 & 0b11 {
            0 => Ok(Delivery::AtMostOnce),
            1 => Ok(Delivery::AtLeastOnce {
                id: reader.packet_id()?,
                dup,
            }),
            _ => Ok(Delivery::ExactlyOnce {
                id: reader.packet_id()?,
                dup,
            }),
        }
    }
}

impl Topic {
    /// The alias that is set or used.
    pub fn alias(&self) -> Option<Alias> {
        match self {
            Topic::Name(_, alias) | Topic::Invalid(_, alias) => *alias,
            Topic::Alias(alias) => Some(*alias),
        }
    }

    /// What stands in the place of the topic name; empty for an alias alone.
    fn text(&self) -> Option<&Text> {
        match self {
            Topic::Name(name, _) => Some(name.text()),
            Topic::Invalid(invalid, _) => Some(invalid.text()),
            Topic::Alias(_) => None,
        }
    }

    fn of(text: Text, alias: Option<Alias>, version: Version) -> Result<Topic, DecodeError> {
        match (Name::try_from(text), alias) {
            (Ok(name), alias) => Ok(Topic::Name(name, alias)),
            (Err(invalid), _) if version == Version::V3_1_1 => {
                Err(DecodeError::TopicName(invalid.fault()))
            }
            (Err(invalid), Some(alias)) if invalid.text().is_empty() => Ok(Topic::Alias(alias)),
            (Err(invalid), None) if invalid.text().is_empty() => Err(DecodeError::TopicMissing),
            (Err(invalid), alias) => Ok(Topic::Invalid(invalid, alias)),
        }
    }
}

impl Publish {
    /// A message without properties.
    pub fn new(topic: Name, delivery: Delivery, payload: Bytes) -> Publish {
        Publish {
            delivery,
            retain: false,
            topic: Topic::Name(topic, None),
            properties: Properties::default(),
            payload,
        }
    }

    /// Whether the payload is what its format indicator says. A server may refuse it with 0x99 if not.
    pub fn payload_has_its_format(&self) -> bool {
        self.properties.payload_is_text != Some(true) || std::str::from_utf8(&self.payload).is_ok()
    }

    /// Takes flags that [`kind::Kind::of`] found right.
    pub(crate) fn decode(
        flags: u8,
        mut reader: Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Publish, DecodeError> {
        let text = reader.text()?;
        let delivery = Delivery::decode(flags, &mut reader)?;
        let (properties, alias) = Properties::decode(&mut reader, version, limits)?;
        Ok(Publish {
            delivery,
            retain: flags & kind::RETAIN != 0,
            topic: Topic::of(text, alias, version)?,
            properties,
            payload: reader.rest(),
        })
    }

    /// 3.1.1 has no aliases.
    pub(crate) fn check(&self, version: Version) -> Result<(), EncodeError> {
        match (&self.topic, version) {
            (Topic::Alias(_), Version::V3_1_1) => Err(EncodeError::AliasOnly),
            _ => Ok(()),
        }
    }

    pub(crate) fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.field(self.topic.text().map_or(b"", Text::as_bytes));
        if let Some(id) = self.delivery.packet_id() {
            sink.u16(id.get());
        }
        if version == Version::V5 {
            sink.properties(&(&self.properties, self.topic.alias()));
        }
        sink.put(&self.payload);
    }
}

impl Properties {
    /// With the topic alias, which is a property only on the wire.
    fn decode(
        reader: &mut Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<(Properties, Option<Alias>), DecodeError> {
        let mut to = Properties::default();
        let mut alias = None;
        let section = Section::open(reader, version, limits)?;
        let mut section = section.repeatable(Property::SubscriptionId);
        while let Some(property) = section.next()? {
            match property {
                Property::PayloadFormat => to.payload_is_text = Some(section.flag()?),
                Property::MessageExpiry => to.message_expiry_s = Some(section.u32()?),
                Property::ContentType => to.content_type = Some(section.text()?),
                Property::ResponseTopic => to.response_topic = Some(section.response_topic()?),
                Property::CorrelationData => to.correlation_data = Some(section.binary()?),
                Property::SubscriptionId => to.subscription_ids.push(section.subscription_id()?),
                Property::TopicAlias => {
                    let number = Alias::new(section.u16()?);
                    alias = Some(number.ok_or(DecodeError::TopicAliasZero)?);
                }
                Property::UserProperty => section.user_property(&mut to.user_properties)?,
                _ => return section.misplaced(),
            }
        }
        Ok((to, alias))
    }

    /// What is the same for every subscriber: all but the expiry, which runs down, and the identifiers of
    /// the subscriptions, which are the subscriber's own.
    pub(crate) fn write_shared(&self, sink: &mut impl Sink) {
        sink.flag_property(Property::PayloadFormat, self.payload_is_text);
        sink.text_property(Property::ContentType, self.content_type.as_ref());
        let response_topic = self.response_topic.as_ref().map(Name::text);
        sink.text_property(Property::ResponseTopic, response_topic);
        sink.binary_property(Property::CorrelationData, self.correlation_data.as_ref());
        sink.user_properties(&self.user_properties);
    }
}

/// What [`Properties::write_shared`] leaves out.
pub(crate) fn write_own(
    message_expiry_s: Option<u32>,
    subscription_ids: &[SubscriptionId],
    alias: Option<Alias>,
    sink: &mut impl Sink,
) {
    sink.u32_property(Property::MessageExpiry, message_expiry_s);
    for id in subscription_ids {
        sink.u8(Property::SubscriptionId as u8);
        sink.varint(id.get());
    }
    sink.u16_property(Property::TopicAlias, alias.map(Alias::get));
}

impl WriteProperties for (&Properties, Option<Alias>) {
    fn write(&self, sink: &mut impl Sink) {
        let (properties, alias) = self;
        let ids = &properties.subscription_ids;
        write_own(properties.message_expiry_s, ids, *alias, sink);
        properties.write_shared(sink);
    }
}
