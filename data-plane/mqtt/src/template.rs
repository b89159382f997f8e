//! A message encoded once for many subscribers: what they share is bytes, what is their own is put in.
//!
//! ```text
//! header │ topic │ identifier │ length │ own properties │ shared properties │ payload
//!  own     shared    own         own         own              shared           shared
//! ```
//!
//! Subscribers that have nothing of their own but a packet identifier need not even that put together:
//! [`Template::shared`] is the whole packet, with the place of the identifier known.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::{
    error::EncodeError,
    ids::{PacketId, Qos, SubscriptionId},
    kind::{self, Kind},
    packet::{
        header_bytes,
        publish::{Alias, Delivery, Properties, write_own},
        remaining_length,
    },
    sink::{Counter, Sink, WriteProperties},
    text::Text,
    topic::Name,
    version::Version,
};

/// The part of a message that is the same for all its subscribers of one version.
#[derive(Debug, Clone)]
pub struct Template {
    version: Version,
    topic: Name,
    message_expiry_s: Option<u32>,
    /// Encoded, without the length before them.
    properties: Bytes,
    payload: Bytes,
}

/// The part that is one subscriber's own. All but the delivery is left out in 3.1.1.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// QoS, identifier and repetition.
    pub delivery: Delivery,
    /// Whether the retain flag is set for this subscriber.
    pub retain: bool,
    /// How the topic is said.
    pub topic: TopicAs,
    /// What is left of the message's time by now, instead of what the template was made with, in seconds.
    pub message_expiry_s: Option<u32>,
    /// The subscriber's identifiers of the subscriptions that matched.
    pub subscription_ids: &'a [SubscriptionId],
    /// User properties that come before those of the message.
    pub user_properties: &'a [(Text, Text)],
}

/// How one subscriber is told the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicAs {
    /// By its name.
    Name,
    /// By its name, and an alias that stands for it from now on.
    NameAndAlias(Alias),
    /// By an alias that stands for it already. 3.1.1 has none, and gets the name.
    Alias(Alias),
}

impl Own<'_> {
    /// Nothing of the subscriber's own but this.
    pub fn only(delivery: Delivery) -> Own<'static> {
        Own {
            delivery,
            retain: false,
            topic: TopicAs::Name,
            message_expiry_s: None,
            subscription_ids: &[],
            user_properties: &[],
        }
    }
}

/// Appends the properties that all subscribers of a message share, for [`Template::of_encoded`].
pub fn encode_shared(properties: &Properties, out: &mut BytesMut) {
    properties.write_shared(out);
}

impl Template {
    /// Encodes what is shared. Subscription identifiers in the properties are not looked at.
    pub fn new(version: Version, topic: Name, properties: &Properties, payload: Bytes) -> Template {
        let mut encoded = BytesMut::new();
        if version == Version::V5 {
            properties.write_shared(&mut encoded);
        }
        Template {
            version,
            topic,
            message_expiry_s: properties.message_expiry_s,
            properties: encoded.freeze(),
            payload,
        }
    }

    /// A template of shared properties that were encoded before, by [`encode_shared`], and never change.
    /// 3.1.1 leaves them out.
    pub fn of_encoded(
        version: Version,
        topic: Name,
        properties: Bytes,
        payload: Bytes,
    ) -> Template {
        Template {
            version,
            topic,
            message_expiry_s: None,
            properties: match version {
                Version::V3_1_1 => Bytes::new(),
                Version::V5 => properties,
            },
            payload,
        }
    }

    /// The template without some of the shared properties, by where they stand in what was encoded.
    pub fn without(mut self, properties: Range<usize>) -> Template {
        if self.version == Version::V5 {
            let Range { start, end } = properties;
            let rest = [&self.properties[..start], &self.properties[end..]];
            self.properties = rest.concat().into();
        }
        self
    }

    /// The payload, for those who write it from where it is after [`Template::encode_head`].
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// How many bytes [`Template::encode`] appends, to compare with the subscriber's Maximum Packet Size.
    pub fn encoded_len(&self, own: &Own) -> Result<usize, EncodeError> {
        let body_bytes = self.body_bytes(own)?;
        Ok(header_bytes(body_bytes) + body_bytes as usize)
    }

    /// Appends the packet for one subscriber.
    pub fn encode(&self, own: &Own, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode_head(own, out)?;
        out.put(&self.payload);
        Ok(())
    }

    /// Appends the packet for one subscriber up to its payload, which has to follow.
    pub fn encode_head(&self, own: &Own, out: &mut BytesMut) -> Result<(), EncodeError> {
        let body_bytes = self.body_bytes(own)?;
        out.reserve(header_bytes(body_bytes) + body_bytes as usize - self.payload.len());
        out.put(&[(Kind::Publish as u8) << 4 | own.delivery.flags(own.retain)]);
        out.varint(body_bytes);
        self.write_head(own, out);
        Ok(())
    }

    /// The whole packet for every subscriber that has nothing of its own but an identifier.
    pub fn shared(&self, qos: Qos, retain: bool) -> Result<Shared, EncodeError> {
        // The identifier is put over by each subscriber's.
        const ANY: PacketId = PacketId::new(u16::MAX).unwrap();
        let own = Own {
            retain,
            ..Own::only(match qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce {
                    id: ANY,
                    dup: false,
                },
                Qos::ExactlyOnce => Delivery::ExactlyOnce {
                    id: ANY,
                    dup: false,
                },
            })
        };
        let mut bytes = BytesMut::with_capacity(self.encoded_len(&own)?);
        self.encode(&own, &mut bytes)?;
        let head_bytes =
            header_bytes(self.body_bytes(&own)?) + 2 + self.topic.text().as_bytes().len();
        Ok(Shared {
            bytes: bytes.freeze(),
            id_at: (qos != Qos::AtMostOnce).then_some(head_bytes),
        })
    }

    fn body_bytes(&self, own: &Own) -> Result<u32, EncodeError> {
        let mut counter = Counter::default();
        self.write_head(own, &mut counter);
        remaining_length(counter.total() + self.payload.len())
    }

    fn write_head(&self, own: &Own, sink: &mut impl Sink) {
        match (own.topic, self.version) {
            (TopicAs::Alias(_), Version::V5) => sink.field(b""),
            _ => sink.text(self.topic.text()),
        }
        if let Some(id) = own.delivery.packet_id() {
            sink.u16(id.get());
        }
        if self.version == Version::V5 {
            sink.properties(&(self, own));
        }
    }
}

impl WriteProperties for (&Template, &Own<'_>) {
    fn write(&self, sink: &mut impl Sink) {
        let (template, own) = self;
        let alias = match own.topic {
            TopicAs::Name => None,
            TopicAs::NameAndAlias(alias) | TopicAs::Alias(alias) => Some(alias),
        };
        let expiry = own.message_expiry_s.or(template.message_expiry_s);
        write_own(expiry, own.subscription_ids, alias, sink);
        sink.user_properties(own.user_properties);
        sink.put(&template.properties);
    }
}

/// A whole packet for many subscribers, with a place for each one's identifier.
#[derive(Debug, Clone)]
pub struct Shared {
    bytes: Bytes,
    /// Where the two bytes of the identifier are; QoS 0 has none.
    id_at: Option<usize>,
}

impl Shared {
    /// The packet's size.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The packet as it is, if it is one of QoS 0 and so the same for all.
    pub fn whole(&self) -> Option<&Bytes> {
        match self.id_at {
            None => Some(&self.bytes),
            Some(_) => None,
        }
    }

    /// What comes before and after the identifier, if there is one, to be written around it.
    pub fn around_id(&self) -> Option<(Bytes, Bytes)> {
        let at = self.id_at?;
        Some((self.bytes.slice(..at), self.bytes.slice(at + 2..)))
    }

    /// Appends the packet. With QoS 0, the identifier and the repetition are not looked at.
    pub fn encode(&self, id: PacketId, dup: bool, out: &mut BytesMut) {
        let start = out.len();
        out.put(&self.bytes);
        if let Some(at) = self.id_at {
            let packet = &mut out[start..];
            packet[at..at + 2].copy_from_slice(&id.get().to_be_bytes());
            if dup {
                packet[0] |= kind::DUP;
            }
        }
    }
}
