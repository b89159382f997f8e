//! How a refusal is said in each packet of MQTT: the error table's reason, or the nearest that the packet has.

use highwater_broker::Refusal;
use highwater_mqtt::{Kind, ReasonCode, Text, packet::Remarks};
use highwater_proto::ErrorCode;

/// The reason code for a refusal in a packet of this type.
pub fn reason(refusal: &Refusal, kind: Kind) -> ReasonCode {
    let wanted = match (refusal.code(), kind) {
        (ErrorCode::InvalidTopic, Kind::SubAck | Kind::UnsubAck) => ReasonCode::TopicFilterInvalid,
        (ErrorCode::Unauthenticated, Kind::ConnAck) => ReasonCode::BadUserNameOrPassword,
        (ErrorCode::Unauthenticated, _) => ReasonCode::NotAuthorized,
        (ErrorCode::Unavailable | ErrorCode::NoLeader, Kind::Disconnect) => ReasonCode::ServerBusy,
        // Its own reason is one for goodbyes alone.
        (ErrorCode::RateLimited, Kind::PubAck | Kind::PubRec) => ReasonCode::QuotaExceeded,
        (ErrorCode::Draining, Kind::ConnAck) => ReasonCode::UseAnotherServer,
        (code, _) => {
            ReasonCode::from_number(code.mqtt_reason()).unwrap_or(ReasonCode::UnspecifiedError)
        }
    };
    match wanted.belongs_in(kind) {
        true => wanted,
        false => ReasonCode::ImplementationSpecificError,
    }
}

/// The error that a reason of MQTT's own for a goodbye is nearest to.
pub fn nearest(reason: ReasonCode) -> ErrorCode {
    match reason {
        ReasonCode::KeepAliveTimeout => ErrorCode::Timeout,
        ReasonCode::PacketTooLarge => ErrorCode::PayloadTooLarge,
        _ => ErrorCode::InvalidRequest,
    }
}

/// Why, for people to read.
pub fn remarks(refusal: &Refusal) -> Remarks {
    let text = Text::try_from(refusal.to_string());
    text.map(Remarks::because).unwrap_or_default()
}
