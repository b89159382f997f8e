//! What a client has left to be said for it, and when it is said.

use bytes::Bytes;
use highwater_broker::{
    Refusal, Result,
    catalogue::{Operation, Principal},
    session,
};
use highwater_mqtt::packet::connect::Will as Left;
use highwater_proto::{
    ErrorCode,
    client::{Message, PublishRequest},
    cluster::{Session, session::Will},
    ids::SessionId,
    names::TopicName,
};
use prost::Message as _;

use super::message;
use crate::{gateway::Door, metrics::Protocol, publish::publish_one};

/// Checks a will and takes it into the session.
///
/// # Errors
/// `forbidden` or `invalid_topic` when the client could not publish it itself.
pub fn take(principal: &Principal, left: &Left, origin: &Bytes) -> Result<Will> {
    let request = message::of_will(left, origin);
    let topic = TopicName::try_from(request.topic.as_str())?;
    principal.require(Operation::Publish, &topic)?;
    let message = request.message.unwrap_or_default();
    Ok(Will {
        topic: request.topic,
        message: message.encode_to_vec().into(),
        delay_s: left.properties.delay_s.unwrap_or(0),
    })
}

/// When the will of a session without a connection is to be published, in milliseconds since the Unix epoch:
/// after its delay, or when the session ends, whichever comes first (section 3.1.3.2.2).
pub fn due_ms(session: &Session) -> Option<u64> {
    let will = session.will.as_ref()?;
    let seconds = match session.expiry_s {
        u32::MAX => will.delay_s,
        expiry_s => will.delay_s.min(expiry_s),
    };
    Some(
        session
            .disconnected_at_ms
            .saturating_add(u64::from(seconds) * 1_000),
    )
}

/// Publishes the will of a session. However many nodes do so, it is published once.
///
/// # Errors
/// Those of a publish. One that cannot be published at all is given up, and counted as refused.
pub async fn publish(door: &Door, session: &Session) -> Result<()> {
    let Some(will) = &session.will else {
        return Ok(());
    };
    let message = Message::decode(will.message.clone());
    let message =
        message.map_err(|_| Refusal::new(ErrorCode::Corrupted, "a stored will cannot be read"))?;
    let request = PublishRequest {
        topic: will.topic.clone(),
        message: Some(message),
        idempotency_key: key(session),
        ..Default::default()
    };
    let outcome = match session::owner(&door.broker, session, (door.clock)()) {
        Ok(principal) => publish_one(door, Protocol::Mqtt, &principal, request).await,
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Err(refusal) if refusal.code().is_retryable() => Err(refusal),
        _ => Ok(()),
    }
}

/// One for each connection of a session.
fn key(session: &Session) -> String {
    let id = SessionId::try_from(&session.id[..]);
    let id = id.map_or_else(|_| String::new(), |id| id.to_string());
    format!("will/{id}/{}", session.epoch)
}
