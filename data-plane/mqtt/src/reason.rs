//! The one table of reason codes: their numbers, their names, and the packets that may carry them.

use crate::kind::Kind;

/// A reason code of MQTT 5.0 (section 2.4). Those below 0x80 say that it went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum ReasonCode {
    /// In a SUBACK: QoS 0 was granted. In a DISCONNECT: nothing is wrong, forget the will.
    Success = 0x00,
    GrantedQos1 = 0x01,
    GrantedQos2 = 0x02,
    DisconnectWithWill = 0x04,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    ContinueAuthentication = 0x18,
    ReAuthenticate = 0x19,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    Banned = 0x8A,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdInUse = 0x91,
    PacketIdNotFound = 0x92,
    ReceiveMaxExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    MessageRateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QosNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    ServerMoved = 0x9D,
    SharedSubscriptionsNotSupported = 0x9E,
    ConnectionRateExceeded = 0x9F,
    MaximumConnectTime = 0xA0,
    SubscriptionIdsNotSupported = 0xA1,
    WildcardSubscriptionsNotSupported = 0xA2,
}

/// The packets that carry reason codes, as bits.
const CONNACK: u8 = 1;
/// PUBACK and PUBREC have the same codes.
const RECEIVED: u8 = 1 << 1;
/// PUBREL and PUBCOMP have the same codes.
const RELEASED: u8 = 1 << 2;
const SUBACK: u8 = 1 << 3;
const UNSUBACK: u8 = 1 << 4;
/// A DISCONNECT that the client may send too.
const CLIENT_DISCONNECT: u8 = 1 << 5;
/// A DISCONNECT, whoever sends it.
const DISCONNECT: u8 = 1 << 6;
const AUTH: u8 = 1 << 7;
const ANY_DISCONNECT: u8 = CLIENT_DISCONNECT | DISCONNECT;

/// Code, packets, name as the specification writes it.
type Row = (ReasonCode, u8, &'static str);

use ReasonCode::*;

/// Section 2.4 of the specification, with the column "Sent by" of section 3.14.2.1.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Success,                           CONNACK | RECEIVED | RELEASED | SUBACK | UNSUBACK | ANY_DISCONNECT | AUTH, "success"),
    (GrantedQos1,                       SUBACK,                                             "granted QoS 1"),
    (GrantedQos2,                       SUBACK,                                             "granted QoS 2"),
    (DisconnectWithWill,                ANY_DISCONNECT,                                     "disconnect with will message"),
    (NoMatchingSubscribers,             RECEIVED,                                           "no matching subscribers"),
    (NoSubscriptionExisted,             UNSUBACK,                                           "no subscription existed"),
    (ContinueAuthentication,            AUTH,                                               "continue authentication"),
    (ReAuthenticate,                    AUTH,                                               "re-authenticate"),
    (UnspecifiedError,                  CONNACK | RECEIVED | SUBACK | UNSUBACK | ANY_DISCONNECT, "unspecified error"),
    (MalformedPacket,                   CONNACK | ANY_DISCONNECT,                           "malformed packet"),
    (ProtocolError,                     CONNACK | ANY_DISCONNECT,                           "protocol error"),
    (ImplementationSpecificError,       CONNACK | RECEIVED | SUBACK | UNSUBACK | ANY_DISCONNECT, "implementation specific error"),
    (UnsupportedProtocolVersion,        CONNACK,                                            "unsupported protocol version"),
    (ClientIdNotValid,                  CONNACK,                                            "client identifier not valid"),
    (BadUserNameOrPassword,             CONNACK,                                            "bad user name or password"),
    (NotAuthorized,                     CONNACK | RECEIVED | SUBACK | UNSUBACK | DISCONNECT, "not authorized"),
    (ServerUnavailable,                 CONNACK,                                            "server unavailable"),
    (ServerBusy,                        CONNACK | DISCONNECT,                               "server busy"),
    (Banned,                            CONNACK,                                            "banned"),
    (ServerShuttingDown,                DISCONNECT,                                         "server shutting down"),
    (BadAuthenticationMethod,           CONNACK | DISCONNECT,                               "bad authentication method"),
    (KeepAliveTimeout,                  DISCONNECT,                                         "keep alive timeout"),
    (SessionTakenOver,                  DISCONNECT,                                         "session taken over"),
    (TopicFilterInvalid,                SUBACK | UNSUBACK | DISCONNECT,                     "topic filter invalid"),
    (TopicNameInvalid,                  CONNACK | RECEIVED | ANY_DISCONNECT,                "topic name invalid"),
    (PacketIdInUse,                     RECEIVED | SUBACK | UNSUBACK,                       "packet identifier in use"),
    (PacketIdNotFound,                  RELEASED,                                           "packet identifier not found"),
    (ReceiveMaxExceeded,                ANY_DISCONNECT,                                     "receive maximum exceeded"),
    (TopicAliasInvalid,                 ANY_DISCONNECT,                                     "topic alias invalid"),
    (PacketTooLarge,                    CONNACK | ANY_DISCONNECT,                           "packet too large"),
    (MessageRateTooHigh,                ANY_DISCONNECT,                                     "message rate too high"),
    (QuotaExceeded,                     CONNACK | RECEIVED | SUBACK | ANY_DISCONNECT,       "quota exceeded"),
    (AdministrativeAction,              ANY_DISCONNECT,                                     "administrative action"),
    (PayloadFormatInvalid,              CONNACK | RECEIVED | ANY_DISCONNECT,                "payload format invalid"),
    (RetainNotSupported,                CONNACK | DISCONNECT,                               "retain not supported"),
    (QosNotSupported,                   CONNACK | DISCONNECT,                               "QoS not supported"),
    (UseAnotherServer,                  CONNACK | DISCONNECT,                               "use another server"),
    (ServerMoved,                       CONNACK | DISCONNECT,                               "server moved"),
    (SharedSubscriptionsNotSupported,   SUBACK | DISCONNECT,                                "shared subscriptions not supported"),
    (ConnectionRateExceeded,            CONNACK | DISCONNECT,                               "connection rate exceeded"),
    (MaximumConnectTime,                DISCONNECT,                                         "maximum connect time"),
    (SubscriptionIdsNotSupported,       SUBACK | DISCONNECT,                                "subscription identifiers not supported"),
    (WildcardSubscriptionsNotSupported, SUBACK | DISCONNECT,                                "wildcard subscriptions not supported"),
];

impl ReasonCode {
    /// Every code, in order of its number.
    pub fn all() -> impl Iterator<Item = ReasonCode> {
        TABLE.iter().map(|row| row.0)
    }

    /// The code with this number.
    pub fn from_number(number: u8) -> Option<ReasonCode> {
        ReasonCode::all().find(|code| code.number() == number)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed.
    pub const fn is_failure(self) -> bool {
        self.number() >= 0x80
    }

    fn row(self) -> &'static Row {
        // Every code has its row, as the test below holds.
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[0])
    }

    /// Its name as the specification writes it, in lower case.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Whether a packet of this type may carry it.
    pub fn belongs_in(self, kind: Kind) -> bool {
        let bit = match kind {
            Kind::ConnAck => CONNACK,
            Kind::PubAck | Kind::PubRec => RECEIVED,
            Kind::PubRel | Kind::PubComp => RELEASED,
            Kind::SubAck => SUBACK,
            Kind::UnsubAck => UNSUBACK,
            Kind::Disconnect => DISCONNECT,
            Kind::Auth => AUTH,
            _ => 0,
        };
        self.row().1 & bit != 0
    }

    /// Whether a client may disconnect with it; the others are the server's (section 3.14.2.1).
    pub fn is_for_client_disconnect(self) -> bool {
        self.row().1 & CLIENT_DISCONNECT != 0
    }

    /// The CONNACK return code of 3.1.1 that says it, if there is one. Without one, the connection is
    /// closed and no CONNACK sent (MQTT-3.2.2-6 of 3.1.1).
    pub fn connack_return_code(self) -> Option<u8> {
        match self {
            Success => Some(0),
            UnsupportedProtocolVersion => Some(1),
            ClientIdNotValid => Some(2),
            ServerUnavailable
            | ServerBusy
            | QuotaExceeded
            | ConnectionRateExceeded
            | UseAnotherServer
            | ServerMoved => Some(3),
            BadUserNameOrPassword => Some(4),
            NotAuthorized | Banned | BadAuthenticationMethod => Some(5),
            _ => None,
        }
    }

    /// What a CONNACK return code of 3.1.1 means.
    pub fn from_connack_return_code(code: u8) -> Option<ReasonCode> {
        match code {
            0 => Some(Success),
            1 => Some(UnsupportedProtocolVersion),
            2 => Some(ClientIdNotValid),
            3 => Some(ServerUnavailable),
            4 => Some(BadUserNameOrPassword),
            5 => Some(NotAuthorized),
            _ => None,
        }
    }
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_in_order_and_is_found_by_its_number() {
        let numbers: Vec<u8> = ReasonCode::all().map(ReasonCode::number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
        // The last variant: no row is missing before it unless the specification has a hole there.
        assert_eq!(numbers.len(), 8 + (0xA2 - 0x80 + 1));
        for code in ReasonCode::all() {
            assert_eq!(ReasonCode::from_number(code.number()), Some(code));
            assert_eq!(code.row().0, code);
        }
        for number in [0x03, 0x05, 0x12, 0x7F, 0xA3, 0xFF] {
            assert_eq!(ReasonCode::from_number(number), None);
        }
    }

    #[test]
    fn packets_have_as_many_codes_as_their_tables() {
        let count = |kind| {
            ReasonCode::all()
                .filter(|code| code.belongs_in(kind))
                .count()
        };
        assert_eq!(count(Kind::ConnAck), 22);
        assert_eq!(count(Kind::PubAck), 9);
        assert_eq!(count(Kind::PubRec), 9);
        assert_eq!(count(Kind::PubRel), 2);
        assert_eq!(count(Kind::PubComp), 2);
        assert_eq!(count(Kind::SubAck), 12);
        assert_eq!(count(Kind::UnsubAck), 7);
        // 29 of section 3.14.2.1, and 0x8C, which section 2.4 has besides.
        assert_eq!(count(Kind::Disconnect), 30);
        assert_eq!(count(Kind::Auth), 3);
        assert_eq!(count(Kind::Publish), 0);
    }

    #[test]
    fn return_codes_of_3_1_1_round_trip() {
        for code in 0..=5 {
            let reason = ReasonCode::from_connack_return_code(code).unwrap();
            assert_eq!(reason.connack_return_code(), Some(code));
        }
        assert_eq!(ReasonCode::from_connack_return_code(6), None);
        assert_eq!(ReasonCode::MalformedPacket.connack_return_code(), None);
    }
}
