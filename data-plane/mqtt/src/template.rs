//! A message encoded once for many subscribers: what they share is bytes, what is their own is put in.
//!
//! ```text
//! header │ topic │ identifier │ length │ own properties │ shared properties │ payload
//!  own     shared    own         own         own              shared           shared
//! ```

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::{
    error::EncodeError,
    ids::SubscriptionId,
    kind::Kind,
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
