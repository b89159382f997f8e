//! CONNACK: the server's answer to a CONNECT (MQTT 5.0, section 3.2).

use std::num::{NonZeroU16, NonZeroU32};

use crate::{
    error::{DecodeError, EncodeError},
    ids::Qos,
    kind::Kind,
    limits::Limits,
    packet::{auth::Authentication, read_reason},
    property::{Property, Section, UserProperties},
    reader::Reader,
    reason::ReasonCode,
    sink::{Sink, WriteProperties},
    text::Text,
    version::Version,
};

/// Whether the connection is accepted, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server still has the client's session. Never with a refusal (MQTT-3.2.2-6).
    pub session_present: bool,
    /// Success, or why not.
    pub reason: ReasonCode,
    /// The properties of 5.0.
    pub properties: Properties,
}

/// The properties of a CONNACK (section 3.2.2.3). What is absent is as the client asked for, or
/// without limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// How long the session will outlive the connection, in seconds; `u32::MAX` for ever.
    pub session_expiry_s: Option<u32>,
    /// The identifier that was chosen for the client.
    pub assigned_client_id: Option<Text>,
    /// The keep alive that holds instead of the client's, in seconds.
    pub server_keep_alive_s: Option<u16>,
    /// The last step of an authentication.
    pub authentication: Option<Authentication>,
    /// What to begin response topics with.
    pub response_information: Option<Text>,
    /// The server to go to instead.
    pub server_reference: Option<Text>,
    /// Why, for people to read.
    pub reason_string: Option<Text>,
    /// The most unacknowledged messages of QoS 1 and 2 the server takes.
    pub receive_max: Option<NonZeroU16>,
    /// The highest topic alias the server takes.
    pub topic_alias_max: Option<u16>,
    /// The highest QoS the server takes. QoS 2 is said by saying nothing, and so not written.
    pub qos_max: Option<Qos>,
    /// Whether messages can be retained.
    pub retain_available: Option<bool>,
    /// The user properties.
    pub user_properties: UserProperties,
    /// The largest packet the server takes.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// Whether filters may have wildcards.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether subscriptions may have identifiers.
    pub subscription_id_available: Option<bool>,
    /// Whether subscriptions can be shared.
    pub shared_subscription_available: Option<bool>,
}

impl ConnAck {
    /// A refusal, without a word more than its reason.
    pub fn refusal(reason: ReasonCode) -> ConnAck {
        ConnAck {
            session_present: false,
            reason,
            properties: Properties::default(),
        }
    }

    pub(crate) fn decode(
        mut reader: Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<ConnAck, DecodeError> {
        let session_present = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::ConnAckFlagsReserved),
        };
        let reason = match version {
            Version::V5 => read_reason(&mut reader, Kind::ConnAck)?,
            Version::V3_1_1 => {
                let code = reader.u8()?;
                let reason = ReasonCode::from_connack_return_code(code);
                reason.ok_or(DecodeError::ReasonUnknown(code))?
            }
        };
        if session_present && reason != ReasonCode::Success {
            return Err(DecodeError::SessionPresentOnRefusal);
        }
        let properties = Properties::decode(&mut reader, version, limits)?;
        reader.finish(Kind::ConnAck)?;
        Ok(ConnAck {
            session_present,
            reason,
            properties,
        })
    }

    /// 3.1.1 cannot say every refusal.
    pub(crate) fn check(&self, version: Version) -> Result<(), EncodeError> {
        match self.code(version) {
            Some(_) => Ok(()),
            None => Err(EncodeError::NoReturnCode(self.reason)),
        }
    }

    pub(crate) fn write(&self, version: Version, sink: &mut impl Sink) {
        sink.u8(self.session_present.into());
        // Checked before anything is written.
        sink.u8(self.code(version).unwrap_or(0xFF));
        if version == Version::V5 {
            sink.properties(&self.properties);
        }
    }

    fn code(&self, version: Version) -> Option<u8> {
        match version {
            Version::V5 => Some(self.reason.number()),
            Version::V3_1_1 => self.reason.connack_return_code(),
        }
    }
}

impl Properties {
    fn decode(
        reader: &mut Reader,
        version: Version,
        limits: &Limits,
    ) -> Result<Properties, DecodeError> {
        use Property::*;
        let mut properties = Properties::default();
        let (mut method, mut data) = (None, None);
        let mut section = Section::open(reader, version, limits)?;
        while let Some(property) = section.next()? {
            let to = &mut properties;
            match property {
                SessionExpiry => to.session_expiry_s = Some(section.u32()?),
                AssignedClientId => to.assigned_client_id = Some(section.text()?),
                ServerKeepAlive => to.server_keep_alive_s = Some(section.u16()?),
                AuthenticationMethod => method = Some(section.text()?),
                AuthenticationData => data = Some(section.binary()?),
                ResponseInformation => to.response_information = Some(section.text()?),
                ServerReference => to.server_reference = Some(section.text()?),
                ReasonString => to.reason_string = Some(section.text()?),
                ReceiveMax => to.receive_max = Some(section.nonzero_u16()?),
                TopicAliasMax => to.topic_alias_max = Some(section.u16()?),
                QosMax => {
                    to.qos_max = Some(match section.flag()? {
                        false => Qos::AtMostOnce,
                        true => Qos::AtLeastOnce,
                    });
                }
                RetainAvailable => to.retain_available = Some(section.flag()?),
                UserProperty => section.user_property(&mut to.user_properties)?,
                PacketBytesMax => to.packet_bytes_max = Some(section.nonzero_u32()?),
                WildcardSubscriptionAvailable => {
                    to.wildcard_subscription_available = Some(section.flag()?);
                }
                SubscriptionIdAvailable => to.subscription_id_available = Some(section.flag()?),
                SharedSubscriptionAvailable => {
                    to.shared_subscription_available = Some(section.flag()?);
                }
                _ => return section.misplaced(),
            }
        }
        properties.authentication = Authentication::of(method, data)?;
        Ok(properties)
    }
}

impl WriteProperties for Properties {
    fn write(&self, sink: &mut impl Sink) {
        use Property::*;
        let qos_max = match self.qos_max {
            None | Some(Qos::ExactlyOnce) => None,
            Some(qos) => Some(qos == Qos::AtLeastOnce),
        };
        let receive_max = self.receive_max.map(NonZeroU16::get);
        let packet_bytes_max = self.packet_bytes_max.map(NonZeroU32::get);
        let wildcards = self.wildcard_subscription_available;
        let ids = self.subscription_id_available;
        let shares = self.shared_subscription_available;
        sink.u32_property(SessionExpiry, self.session_expiry_s);
        sink.text_property(AssignedClientId, self.assigned_client_id.as_ref());
        sink.u16_property(ServerKeepAlive, self.server_keep_alive_s);
        Authentication::write(self.authentication.as_ref(), sink);
        sink.text_property(ResponseInformation, self.response_information.as_ref());
        sink.text_property(ServerReference, self.server_reference.as_ref());
        sink.text_property(ReasonString, self.reason_string.as_ref());
        sink.u16_property(ReceiveMax, receive_max);
        sink.u16_property(TopicAliasMax, self.topic_alias_max);
        sink.flag_property(QosMax, qos_max);
        sink.flag_property(RetainAvailable, self.retain_available);
        sink.user_properties(&self.user_properties);
        sink.u32_property(PacketBytesMax, packet_bytes_max);
        sink.flag_property(WildcardSubscriptionAvailable, wildcards);
        sink.flag_property(SubscriptionIdAvailable, ids);
        sink.flag_property(SharedSubscriptionAvailable, shares);
    }
}
