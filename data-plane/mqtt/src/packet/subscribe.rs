//! SUBSCRIBE and UNSUBSCRIBE: what a client wants to receive, or no longer (sections 3.8 and 3.10).
//!
//! A filter that MQTT does not allow is no reason to refuse the packet: its neighbours are answered,
//! and it is refused with 0x8F, or 0x80 in 3.1.1, in its place. So a filter here is a `Result`.

use crate::{
    error::DecodeError,
    ids::{PacketId, Qos, SubscriptionId},
    kind::Kind,
    limits::Limits,
    property::{Property, Section, UserProperties},
    reader::Reader,
    sink::{Sink, WriteProperties},
    text::Text,
    topic::{Filter, Invalid},
    version::Version,
};

/// New subscriptions, or new options for old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// What the SUBACK will name.
    pub packet_id: PacketId,
    /// What the client calls all of these subscriptions by; 5.0 only.
    pub subscription_id: Option<SubscriptionId>,
    /// The user properties; 5.0 only.
    pub user_properties: UserProperties,
    /// The subscriptions, at least one.
    pub subscriptions: Vec<Subscription>,
}

/// One filter with its options (section 3.8.3.1). 3.1.1 has the QoS alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// What is subscribed to.
    pub filter: Result<Filter, Invalid>,
    /// The highest QoS that messages are to come with.
    pub qos: Qos,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether messages keep the retain flag they were published with.
    pub retain_as_published: bool,
    /// Whether retained messages are sent first.
    pub retain_handling: RetainHandling,
}

/// Whether retained messages are sent on subscribing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// Whenever the client subscribes.
    #[default]
    Send = 0,
    /// When the subscription is a new one.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// The end of subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// What the UNSUBACK will name.
    pub packet_id: PacketId,
    /// The user properties; 5.0 only.
    pub user_properties: UserProperties,
    /// The filters, at least one, as they were subscribed to.
    pub filters: Vec<Result<Filter, Invalid>>,
}

/// The subscription options.
mod options {
    pub(super) const QOS: u8 = 0b11;
    pub(super) const NO_LOCAL: u8 = 1 << 2;
    pub(super) const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
    pub(super) const RETAIN_HANDLING_AT: u8 = 4;
    pub(super) const RESERVED_V5: u8 = 0b1100_0000;
    pub(super) const RESERVED_V3_1_1: u8 = 0b1111_1100;
}

impl Subscription {
    /// A subscription as 3.1.1 knows it.
    pub fn new(filter: Filter, qos: Qos) -> Subscription {
        Subscription {
            filter: Ok(filter),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Send,
        }
    }

    fn decode(reader: &mut Reader, version: Version) -> Result<Subscription, DecodeError> {
        let text = reader.text()?;
        let options = reader.u8()?;
        let reserved = match version {
            Version::V3_1_1 => options::RESERVED_V3_1_1,
            Version::V5 => options::RESERVED_V5,
        };
        if options & reserved != 0 {
            return Err(DecodeError::SubscriptionOptionsReserved);
        }
        let qos = Qos::new(options & options::QOS);
        let no_local = options & options::NO_LOCAL != 0;
        if no_local && Filter::is_meant_as_shared(&text) {
            return Err(DecodeError::NoLocalShared);
        }
        Ok(Subscription {
            filter: Filter::try_from(text),
            qos: qos.ok_or(DecodeError::SubscriptionQosReserved)?,
            no_local,
            retain_as_published: options & options::RETAIN_AS_PUBLISHED != 0,
            retain_handling: match options >> options::RETAIN_HANDLING_AT & 0b11 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeError::RetainHandlingReserved),
            },
        })
    }

    fn options(&self, version: Version) -> u8 {
        let set = |present: bool, option: u8| if present { option } else { 0 };
        let more = set(self.no_local, options::NO_LOCAL)
            | set(self.retain_as_published, options::RETAIN_AS_PUBLISHED)
            | (self.retain_handling as u8) << options::RETAIN_HANDLING_AT;
        self.qos as u8 | set(version == Version::V5, more)
    }
}

impl Subscribe {
    /// Subscriptions without properties.
    pub fn new(packet_id: PacketId, subscriptions: Vec<Subscription>) -> Subscribe {
        Subscribe {
            packet_id,
            subscription_id: None,
            user_properties: UserProperties::new(),
            subscriptions,
        }
    }

    pub(crate) fn decode(
        mut reader: Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Subscribe, DecodeError> {
        let mut subscribe = Subscribe::new(reader.packet_id()?, Vec::new());
        let mut section = Section::open(&mut reader, version, limits)?;
        while let Some(property) = section.next()? {
            let to = &mut subscribe;
            match property {
                Property::SubscriptionId => to.subscription_id = Some(section.subscription_id()?),
                Property::UserProperty => section.user_property(&mut to.user_properties)?,
                _ => return section.misplaced(),
            }
        }
        subscribe.subscriptions = at_least_one(Kind::Subscribe, reader, limits, |reader| {
            Subscription::decode(reader, version)
        })?;
        Ok(subscribe)
    }

    pub(crate) fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            sink.properties(self);
        }
        for subscription in &self.subscriptions {
            sink.text(text_of(&subscription.filter));
            sink.u8(subscription.options(version));
        }
    }
}

impl WriteProperties for Subscribe {
    fn write(&self, sink: &mut impl Sink) {
        if let Some(id) = self.subscription_id {
            sink.u8(Property::SubscriptionId as u8);
            sink.varint(id.get());
        }
        sink.user_properties(&self.user_properties);
    }
}

impl Unsubscribe {
    /// Filters without properties.
    pub fn new(packet_id: PacketId, filters: Vec<Filter>) -> Unsubscribe {
        Unsubscribe {
            packet_id,
            user_properties: UserProperties::new(),
            filters: filters.into_iter().map(Ok).collect(),
        }
    }

    pub(crate) fn decode(
        mut reader: Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Unsubscribe, DecodeError> {
        let mut unsubscribe = Unsubscribe::new(reader.packet_id()?, Vec::new());
        let mut section = Section::open(&mut reader, version, limits)?;
        while let Some(property) = section.next()? {
            match property {
                Property::UserProperty => {
                    section.user_property(&mut unsubscribe.user_properties)?
                }
                _ => return section.misplaced(),
            }
        }
        unsubscribe.filters = at_least_one(Kind::Unsubscribe, reader, limits, |reader| {
            Ok(Filter::try_from(reader.text()?))
        })?;
        Ok(unsubscribe)
    }

    pub(crate) fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        if version == Version::V5 {
            sink.properties(self);
        }
        for filter in &self.filters {
            sink.text(text_of(filter));
        }
    }
}

impl WriteProperties for Unsubscribe {
    fn write(&self, sink: &mut impl Sink) {
        sink.user_properties(&self.user_properties);
    }
}

/// What the client wrote, whether it is a filter or not.
fn text_of(filter: &Result<Filter, Invalid>) -> &Text {
    match filter {
        Ok(filter) => filter.text(),
        Err(invalid) => invalid.text(),
    }
}

/// The rest of a body as a list that is neither empty nor longer than allowed.
fn at_least_one<T>(
    kind: Kind,
    mut reader: Reader,
    limits: &Limits,
    decode: impl Fn(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let max = limits.filters_max;
    let mut list = Vec::new();
    while !reader.is_empty() {
        if list.len() >= max {
            return Err(DecodeError::TooManyFilters { max });
        }
        list.push(decode(&mut reader)?);
    }
    match list.is_empty() {
        true => Err(DecodeError::NoFilters(kind)),
        false => Ok(list),
    }
}
