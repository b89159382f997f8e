//! Why bytes are no packet, or a packet has no bytes: the closed lists of what can go wrong.

use crate::{kind::Kind, property::Property, reason::ReasonCode, topic::Fault, version::Version};

/// Why the peer's bytes were refused. Whichever it is, the connection has to be closed (section 4.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A packet type that does not exist, or not in this version (section 2.1.2).
    #[error("packet type {0} does not exist")]
    ReservedType(u8),
    /// The lower half of the first byte is not what the type demands (MQTT-2.1.3-1).
    #[error("{kind} must not have the header flags {flags:#06b}")]
    HeaderFlags {
        /// The packet's type.
        kind: Kind,
        /// Its flags.
        flags: u8,
    },
    /// Both QoS bits of a PUBLISH or will are set (MQTT-3.3.1-4, MQTT-3.1.2-12).
    #[error("QoS 3 does not exist")]
    QosReserved,
    /// DUP in a PUBLISH of QoS 0 (MQTT-3.3.1-2).
    #[error("a message of QoS 0 is never a repetition, yet DUP is set")]
    DupWithoutQos,
    /// A variable byte integer in more bytes than it needs (MQTT-1.5.5-1).
    #[error("a variable byte integer takes more bytes than it needs")]
    LengthNotMinimal,
    /// A variable byte integer of five bytes or more (section 1.5.5).
    #[error("a variable byte integer is longer than four bytes")]
    LengthTooLong,
    /// The packet is larger than the receiver allows; known from its header alone.
    #[error("the packet has {bytes} bytes, {max} are allowed")]
    PacketTooLarge {
        /// Its size, the header included.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },

    /// A field reaches beyond the end of its packet or of its properties.
    #[error("the packet ends within a field")]
    Truncated,
    /// Bytes remain after the last field.
    #[error("bytes follow the end of the {0}")]
    TrailingBytes(Kind),
    /// A string that is not well-formed UTF-8 (MQTT-1.5.4-1).
    #[error("a string is not well-formed UTF-8")]
    TextNotUtf8,
    /// A string with U+0000 (MQTT-1.5.4-2).
    #[error("a string contains the null character")]
    TextHasNul,
    /// Packet identifier 0 (MQTT-2.2.1-3).
    #[error("packet identifier 0 is not allowed")]
    PacketIdZero,

    /// Neither `MQTT` nor `MQIsdp` (MQTT-3.1.2-1).
    #[error("the protocol name is not MQTT")]
    UnknownProtocol,
    /// A version of MQTT that is not spoken (MQTT-3.1.2-2).
    #[error("protocol level {level} is not supported, 4 and 5 are")]
    UnsupportedVersion {
        /// The level the client asked for.
        level: u8,
        /// The version whose CONNACK this client is most likely to understand.
        answer_in: Version,
    },
    /// Bit 0 of the connect flags (MQTT-3.1.2-3).
    #[error("the reserved connect flag is set")]
    ConnectFlagReserved,
    /// A QoS or retain flag for a will that is not there (MQTT-3.1.2-11, MQTT-3.1.2-13).
    #[error("will QoS or will retain is set without a will")]
    WillFlags,
    /// 3.1.1 has no password without a user name (MQTT-3.1.2-22 of 3.1.1).
    #[error("a password without a user name")]
    PasswordWithoutUsername,
    /// A topic where no acknowledgement can refuse it: of a will, or of a PUBLISH in 3.1.1.
    #[error("the topic name is invalid: {0}")]
    TopicName(Fault),
    /// A response topic that is no topic name (MQTT-3.3.2-14).
    #[error("the response topic is invalid: {0}")]
    ResponseTopic(Fault),
    /// A PUBLISH with neither topic nor alias (section 3.3.2.1).
    #[error("a message without a topic or an alias for one")]
    TopicMissing,
    /// Topic alias 0 (MQTT-3.3.2-8).
    #[error("topic alias 0 is not allowed")]
    TopicAliasZero,

    /// A property identifier that does not exist (section 2.2.2.2).
    #[error("property {0:#04x} does not exist")]
    PropertyUnknown(u8),
    /// A property in a packet that must not have it, or from a side that must not send it.
    #[error("{0} does not belong here")]
    PropertyMisplaced(Property),
    /// A property twice that may be there once.
    #[error("{0} is given twice")]
    PropertyRepeated(Property),
    /// A property with a value outside its range.
    #[error("{0} has a value outside its range")]
    PropertyValue(Property),
    /// Authentication data, or an AUTH, without a method (sections 3.1.2.11.10, 3.15.2.2.2).
    #[error("the authentication method is missing")]
    AuthenticationMethodMissing,
    /// More user properties than the receiver allows.
    #[error("more than {max} user properties")]
    TooManyUserProperties {
        /// What is allowed.
        max: usize,
    },

    /// A SUBSCRIBE or UNSUBSCRIBE without filters (MQTT-3.8.3-2, MQTT-3.10.3-2).
    #[error("{0} without a topic filter")]
    NoFilters(Kind),
    /// More topic filters than the receiver allows.
    #[error("more than {max} topic filters")]
    TooManyFilters {
        /// What is allowed.
        max: usize,
    },
    /// Reserved bits of the subscription options (MQTT-3.8.3-5).
    #[error("reserved bits of the subscription options are set")]
    SubscriptionOptionsReserved,
    /// A subscription with QoS 3 (section 3.8.3.1).
    #[error("a subscription asks for QoS 3")]
    SubscriptionQosReserved,
    /// Retain handling 3 (section 3.8.3.1).
    #[error("retain handling 3 does not exist")]
    RetainHandlingReserved,
    /// No local on a shared subscription (MQTT-3.8.3-4).
    #[error("a shared subscription cannot be no local")]
    NoLocalShared,

    /// A number that is no reason code, or no return code of 3.1.1.
    #[error("reason code {0:#04x} does not exist")]
    ReasonUnknown(u8),
    /// A reason code in a packet that must not have it, or from a side that must not send it.
    #[error("{kind} must not have the reason code \"{reason}\"")]
    ReasonMisplaced {
        /// The packet's type.
        kind: Kind,
        /// The code.
        reason: ReasonCode,
    },
    /// A SUBACK or UNSUBACK that answers nothing.
    #[error("{0} without a reason code")]
    NoReasons(Kind),
    /// Reserved bits of the connect acknowledge flags (MQTT-3.2.2-1).
    #[error("reserved bits of the connect acknowledge flags are set")]
    ConnAckFlagsReserved,
    /// A refused connection with a session (MQTT-3.2.2-6).
    #[error("a refused connection has no session, yet session present is set")]
    SessionPresentOnRefusal,

    /// Anything before CONNECT (MQTT-3.1.0-1).
    #[error("{0} before CONNECT")]
    ConnectExpected(Kind),
    /// A second CONNECT (MQTT-3.1.0-2).
    #[error("a second CONNECT")]
    ConnectRepeated,
    /// A packet that the other side has to send, not this one.
    #[error("{0} is not for this side to send")]
    WrongDirection(Kind),
    /// A subscription identifier in a client's PUBLISH (MQTT-3.3.4-6).
    #[error("a client's PUBLISH must not have a subscription identifier")]
    SubscriptionIdFromClient,
}

impl DecodeError {
    /// The reason to give in a CONNACK or DISCONNECT of 5.0 before closing.
    ///
    /// 3.1.1 closes without a word, but for [`DecodeError::UnsupportedVersion`], which
    /// [`ReasonCode::connack_return_code`] gives its return code.
    pub fn reason(&self) -> ReasonCode {
        match self {
            DecodeError::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            DecodeError::UnknownProtocol | DecodeError::UnsupportedVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            DecodeError::TopicName(_) => ReasonCode::TopicNameInvalid,
            DecodeError::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            DecodeError::TooManyUserProperties { .. } | DecodeError::TooManyFilters { .. } => {
                ReasonCode::QuotaExceeded
            }
            DecodeError::PacketIdZero
            | DecodeError::ResponseTopic(_)
            | DecodeError::TopicMissing
            | DecodeError::PropertyRepeated(_)
            | DecodeError::PropertyValue(_)
            | DecodeError::AuthenticationMethodMissing
            | DecodeError::NoFilters(_)
            | DecodeError::SubscriptionQosReserved
            | DecodeError::RetainHandlingReserved
            | DecodeError::NoLocalShared
            | DecodeError::ReasonUnknown(_)
            | DecodeError::ReasonMisplaced { .. }
            | DecodeError::NoReasons(_)
            | DecodeError::SessionPresentOnRefusal
            | DecodeError::ConnectExpected(_)
            | DecodeError::ConnectRepeated
            | DecodeError::WrongDirection(_)
            | DecodeError::SubscriptionIdFromClient => ReasonCode::ProtocolError,
            DecodeError::ReservedType(_)
            | DecodeError::HeaderFlags { .. }
            | DecodeError::QosReserved
            | DecodeError::DupWithoutQos
            | DecodeError::LengthNotMinimal
            | DecodeError::LengthTooLong
            | DecodeError::Truncated
            | DecodeError::TrailingBytes(_)
            | DecodeError::TextNotUtf8
            | DecodeError::TextHasNul
            | DecodeError::ConnectFlagReserved
            | DecodeError::WillFlags
            | DecodeError::PasswordWithoutUsername
            | DecodeError::PropertyUnknown(_)
            | DecodeError::PropertyMisplaced(_)
            | DecodeError::SubscriptionOptionsReserved
            | DecodeError::ConnAckFlagsReserved => ReasonCode::MalformedPacket,
        }
    }
}

/// Why a packet cannot be written. All of them are for the caller to avoid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More bytes than a remaining length can say.
    #[error("{bytes} bytes are more than a packet can hold")]
    TooLong {
        /// The remaining length it would have.
        bytes: usize,
    },
    /// AUTH in 3.1.1.
    #[error("{kind} does not exist in {version}")]
    NotInVersion {
        /// The packet's type.
        kind: Kind,
        /// The version asked for.
        version: Version,
    },
    /// 3.1.1 refuses a connection in few ways; for the others it only closes (MQTT-3.2.2-6 of 3.1.1).
    #[error("3.1.1 has no return code for \"{0}\"")]
    NoReturnCode(ReasonCode),
    /// 3.1.1 has no topic aliases, so a topic has to be written.
    #[error("a topic alias cannot stand for the topic in 3.1.1")]
    AliasOnly,
}
