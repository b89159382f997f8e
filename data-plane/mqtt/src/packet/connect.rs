//! CONNECT: a client asks for a session (MQTT 5.0, section 3.1).

use std::num::{NonZeroU16, NonZeroU32};

use crate::{
    error::DecodeError,
    ids::Qos,
    kind::Kind,
    limits::Limits,
    packet::auth::Authentication,
    property::{Property, Section, UserProperties},
    reader::Reader,
    sink::{Sink, WriteProperties},
    text::{Binary, Text},
    topic::Name,
    version::Version,
};

/// The first packet of a connection, and the only one that says which version it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version of everything that follows.
    pub version: Version,
    /// Whether to begin with a new session; "clean session" in 3.1.1.
    pub clean_start: bool,
    /// The longest silence between two of the client's packets, in seconds; 0 for any.
    pub keep_alive_s: u16,
    /// The client's identifier, empty when the server shall give one.
    pub client_id: Text,
    /// What to publish for the client when it is gone.
    pub will: Option<Will>,
    /// The user name.
    pub username: Option<Text>,
    /// The password, or whatever the server takes for one.
    pub password: Option<Binary>,
    /// The properties of 5.0.
    pub properties: Properties,
}

/// The properties of a CONNECT (section 3.1.2.11).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// How long the session outlives the connection, in seconds; `u32::MAX` for ever.
    pub session_expiry_s: Option<u32>,
    /// How a challenge is answered, if not by user name and password.
    pub authentication: Option<Authentication>,
    /// Whether reason strings and user properties are wanted outside PUBLISH, CONNACK and DISCONNECT.
    pub request_problem_information: Option<bool>,
    /// Whether the server may send response information.
    pub request_response_information: Option<bool>,
    /// The most unacknowledged messages of QoS 1 and 2 the client takes.
    pub receive_max: Option<NonZeroU16>,
    /// The highest topic alias the client takes.
    pub topic_alias_max: Option<u16>,
    /// The user properties.
    pub user_properties: UserProperties,
    /// The largest packet the client takes.
    pub packet_bytes_max: Option<NonZeroU32>,
}

/// A message left with the server for the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: Name,
    /// What is published.
    pub payload: Binary,
    /// With which QoS.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// The properties of 5.0.
    pub properties: WillProperties,
}

/// The properties of a will (section 3.1.3.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WillProperties {
    /// Whether the payload is text.
    pub payload_is_text: Option<bool>,
    /// How long the message is of use once published, in seconds.
    pub message_expiry_s: Option<u32>,
    /// What the payload is, usually a media type.
    pub content_type: Option<Text>,
    /// Where an answer is expected.
    pub response_topic: Option<Name>,
    /// What an answer is told by.
    pub correlation_data: Option<Binary>,
    /// How long to wait for the client's return before publishing, in seconds.
    pub delay_s: Option<u32>,
    /// The user properties, for the subscribers.
    pub user_properties: UserProperties,
}

/// The connect flags (section 3.1.2.3).
mod flags {
    pub(super) const RESERVED: u8 = 1;
    pub(super) const CLEAN_START: u8 = 1 << 1;
    pub(super) const WILL: u8 = 1 << 2;
    pub(super) const WILL_QOS_AT: u8 = 3;
    pub(super) const WILL_RETAIN: u8 = 1 << 5;
    pub(super) const PASSWORD: u8 = 1 << 6;
    pub(super) const USERNAME: u8 = 1 << 7;
}

impl Connect {
    /// What a client of this version sends at least.
    pub fn new(version: Version, client_id: Text) -> Connect {
        Connect {
            version,
            clean_start: true,
            keep_alive_s: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: Properties::default(),
        }
    }

    /// Whether the server has to refuse the empty client identifier: 3.1.1 allows it only with a clean
    /// session, and the answer is return code 0x02 (MQTT-3.1.3-8 of 3.1.1).
    pub fn lacks_client_id(&self) -> bool {
        self.version == Version::V3_1_1 && self.client_id.is_empty() && !self.clean_start
    }

    /// How long the session outlives the connection, in seconds; `u32::MAX` for ever. 3.1.1 says it by
    /// its clean session flag.
    pub fn session_expiry_s(&self) -> u32 {
        match (self.version, self.clean_start) {
            (Version::V3_1_1, true) => 0,
            (Version::V3_1_1, false) => u32::MAX,
            (Version::V5, _) => self.properties.session_expiry_s.unwrap_or(0),
        }
    }

    /// Reads what follows the protocol level.
    pub(crate) fn decode(
        version: Version,
        mut reader: Reader,
        limits: &Limits,
    ) -> Result<Connect, DecodeError> {
        let flags = reader.u8()?;
        check_flags(version, flags)?;
        let keep_alive_s = reader.u16()?;
        let properties = Properties::decode(&mut reader, version, limits)?;
        let client_id = reader.text()?;
        let will = match flags & flags::WILL {
            0 => None,
            _ => Some(Will::decode(flags, &mut reader, version, limits)?),
        };
        let username = match flags & flags::USERNAME {
            0 => None,
            _ => Some(reader.text()?),
        };
        let password = match flags & flags::PASSWORD {
            0 => None,
            _ => Some(reader.binary()?),
        };
        reader.finish(Kind::Connect)?;
        Ok(Connect {
            version,
            clean_start: flags & flags::CLEAN_START != 0,
            keep_alive_s,
            client_id,
            will,
            username,
            password,
            properties,
        })
    }

    pub(crate) fn write(&self, sink: &mut impl Sink) {
        sink.field(b"MQTT");
        sink.u8(self.version.level());
        sink.u8(self.flags());
        sink.u16(self.keep_alive_s);
        if self.version == Version::V5 {
            sink.properties(&self.properties);
        }
        sink.text(&self.client_id);
        if let Some(will) = &self.will {
            if self.version == Version::V5 {
                sink.properties(&will.properties);
            }
            sink.text(will.topic.text());
            sink.binary(&will.payload);
        }
        if let Some(username) = &self.username {
            sink.text(username);
        }
        if let Some(password) = &self.password {
            sink.binary(password);
        }
    }

    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| {
            let retain = if will.retain { flags::WILL_RETAIN } else { 0 };
            flags::WILL | (will.qos as u8) << flags::WILL_QOS_AT | retain
        });
        let set = |present: bool, flag: u8| if present { flag } else { 0 };
        will | set(self.clean_start, flags::CLEAN_START)
            | set(self.username.is_some(), flags::USERNAME)
            | set(self.password.is_some(), flags::PASSWORD)
    }
}

/// What the flags must not say, before anything is read by them.
fn check_flags(version: Version, flags: u8) -> Result<(), DecodeError> {
    let has = |flag| flags & flag != 0;
    let will_qos = flags >> flags::WILL_QOS_AT & 0b11;
    if has(flags::RESERVED) {
        Err(DecodeError::ConnectFlagReserved)
    } else if !has(flags::WILL) && (will_qos != 0 || has(flags::WILL_RETAIN)) {
        Err(DecodeError::WillFlags)
    } else if will_qos == 3 {
        Err(DecodeError::QosReserved)
    } else if version == Version::V3_1_1 && has(flags::PASSWORD) && !has(flags::USERNAME) {
        Err(DecodeError::PasswordWithoutUsername)
    } else {
        Ok(())
    }
}

impl Properties {
    fn decode(
        reader: &mut Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Properties, DecodeError> {
        let mut properties = Properties::default();
        let (mut method, mut data) = (None, None);
        let mut section = Section::open(reader, version, limits)?;
        while let Some(property) = section.next()? {
            let to = &mut properties;
            match property {
                Property::SessionExpiry => to.session_expiry_s = Some(section.u32()?),
                Property::AuthenticationMethod => method = Some(section.text()?),
                Property::AuthenticationData => data = Some(section.binary()?),
                Property::RequestProblemInformation => {
                    to.request_problem_information = Some(section.flag()?);
                }
                Property::RequestResponseInformation => {
                    to.request_response_information = Some(section.flag()?);
                }
                Property::ReceiveMax => to.receive_max = Some(section.nonzero_u16()?),
                Property::TopicAliasMax => to.topic_alias_max = Some(section.u16()?),
                Property::UserProperty => section.user_property(&mut to.user_properties)?,
                Property::PacketBytesMax => to.packet_bytes_max = Some(section.nonzero_u32()?),
                _ => return section.misplaced(),
            }
        }
        properties.authentication = Authentication::of(method, data)?;
        Ok(properties)
    }

    /// Whether reason strings and user properties may be sent on every packet (MQTT-3.1.2-29).
    pub fn wants_problem_information(&self) -> bool {
        self.request_problem_information.unwrap_or(true)
    }
}

impl WriteProperties for Properties {
    fn write(&self, sink: &mut impl Sink) {
        sink.u32_property(Property::SessionExpiry, self.session_expiry_s);
        Authentication::write(self.authentication.as_ref(), sink);
        sink.flag_property(
            Property::RequestProblemInformation,
            self.request_problem_information,
        );
        sink.flag_property(
            Property::RequestResponseInformation,
            self.request_response_information,
        );
        sink.u16_property(Property::ReceiveMax, self.receive_max.map(NonZeroU16::get));
        sink.u16_property(Property::TopicAliasMax, self.topic_alias_max);
        sink.user_properties(&self.user_properties);
        sink.u32_property(
            Property::PacketBytesMax,
            self.packet_bytes_max.map(NonZeroU32::get),
        );
    }
}

impl Will {
    fn decode(
        flags: u8,
        reader: &mut Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Will, DecodeError> {
        let properties = WillProperties::decode(reader, version, limits)?;
        let topic = Name::try_from(reader.text()?);
        Ok(Will {
            topic: topic.map_err(|invalid| DecodeError::TopicName(invalid.fault()))?,
            payload: reader.binary()?,
            qos: Qos::new(flags >> flags::WILL_QOS_AT & 0b11).ok_or(DecodeError::QosReserved)?,
            retain: flags & flags::WILL_RETAIN != 0,
            properties,
        })
    }
}

impl WillProperties {
    fn decode(
        reader: &mut Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<WillProperties, DecodeError> {
        let mut to = WillProperties::default();
        let mut section = Section::open(reader, version, limits)?;
        while let Some(property) = section.next()? {
            match property {
                Property::PayloadFormat => to.payload_is_text = Some(section.flag()?),
                Property::MessageExpiry => to.message_expiry_s = Some(section.u32()?),
                Property::ContentType => to.content_type = Some(section.text()?),
                Property::ResponseTopic => to.response_topic = Some(section.response_topic()?),
                Property::CorrelationData => to.correlation_data = Some(section.binary()?),
                Property::WillDelay => to.delay_s = Some(section.u32()?),
                Property::UserProperty => section.user_property(&mut to.user_properties)?,
                _ => return section.misplaced(),
            }
        }
        Ok(to)
    }
}

impl WriteProperties for WillProperties {
    fn write(&self, sink: &mut impl Sink) {
        sink.flag_property(Property::PayloadFormat, self.payload_is_text);
        sink.u32_property(Property::MessageExpiry, self.message_expiry_s);
        sink.text_property(Property::ContentType, self.content_type.as_ref());
        let response_topic = self.response_topic.as_ref().map(Name::text);
        sink.text_property(Property::ResponseTopic, response_topic);
        sink.binary_property(Property::CorrelationData, self.correlation_data.as_ref());
        sink.u32_property(Property::WillDelay, self.delay_s);
        sink.user_properties(&self.user_properties);
    }
}
