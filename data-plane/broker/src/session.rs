//! What outlives the connection of an MQTT client, and how it is kept so that any node can go on with it.
//!
//! A session is the newest record of a topic in the [system's project](crate::system). Whoever serves the
//! client owns it by having written that record, and writes the next one only if the topic still ends
//! there (compare and append): of two connections that believe to have a session, only one can write, and
//! the other learns that it was taken over. Nothing else is needed for sessions to be replicated, to survive
//! nodes and to be in one place at a time.

mod owner;
mod uses;

use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::{
    ErrorCode,
    cluster::Session,
    ids::{ProjectId, SessionId},
    names::{TopicFilter, TopicName},
};
use prost::Message as _;

use crate::{
    broker::Broker,
    catalogue::Project,
    handle::{PageLimits, Publish, ReadRequest, Retain, ShardHandle, TopicEnd, interrupted},
    refusal::{Refusal, Result},
    system,
};

pub use owner::{owner, set_owner};
pub use uses::Uses;

/// What a session is found by: a hash of the project and the client's identifier. It is stored in topic
/// names, so no release may change it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(TopicName);

impl SessionKey {
    /// The key of a client's session.
    pub fn of(project: ProjectId, client_id: &str) -> SessionKey {
        let mut hasher = blake3::Hasher::new_derive_key("highwater 2026-11 session key");
        hasher.update(project.as_bytes());
        hasher.update(client_id.as_bytes());
        let hash = hasher.finalize().to_hex();
        let name = format!("{}{}", system::SESSIONS, &hash[..32]);
        SessionKey(TopicName::try_from(name.as_str()).expect("a valid name"))
    }

    /// The key of the session that is kept in a topic of the system's project.
    pub fn of_topic(topic: &TopicName) -> SessionKey {
        SessionKey(topic.clone())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// All sessions.
    pub fn filter() -> TopicFilter {
        TopicFilter::try_from(format!("{}+", system::SESSIONS).as_str()).expect("a valid filter")
    }
}

/// Where a session is kept, and the end of its topic as whoever holds this knows it: the right to write
/// the next record, for as long as nobody else does.
#[derive(Debug, Clone)]
pub struct SessionSlot {
    project: Arc<Project>,
    shard: ShardHandle,
    topic: TopicName,
    end: TopicEnd,
}

impl SessionSlot {
    /// Looks up a session, as it was acknowledged anywhere in the cluster before the call.
    ///
    /// # Errors
    /// `unavailable` without a quorum, `corrupted` when what is stored is no session.
    pub async fn open(broker: &Broker, key: &SessionKey) -> Result<(SessionSlot, Option<Session>)> {
        let SessionKey(topic) = key;
        let shard = broker.shard_of(broker.system(), topic).clone();
        shard.frontier().await?;
        let view = |reply| ReadRequest::Topic {
            project: system::PROJECT,
            topic: topic.clone(),
            reply,
        };
        let mut slot = SessionSlot {
            project: broker.system().clone(),
            shard,
            topic: topic.clone(),
            end: TopicEnd {
                topic: None,
                next_offset: 0,
            },
        };
        let Some(view) = slot.shard.read(view).await? else {
            return Ok((slot, None));
        };
        slot.end = TopicEnd {
            topic: Some(view.id),
            next_offset: view.next_offset,
        };
        let last = |reply| ReadRequest::ReadTopic {
            project: system::PROJECT,
            topic: topic.clone(),
            incarnation: Some(view.id),
            offset: view.next_offset.saturating_sub(1),
            limits: PageLimits {
                records: 1,
                bytes: 1,
            },
            reply,
        };
        let page = slot.shard.read(last).await?;
        let newest = page.slices.last();
        let newest = newest.and_then(|slice| slice.segment.messages.get(slice.end - 1));
        // Another record since the topic was looked at: what is written at this end will be refused.
        let session = newest.map(decode).transpose()?;
        Ok((slot, session))
    }

    /// Writes the session. When this returns without an error it is durable, and the slot is at the new end.
    ///
    /// # Errors
    /// `precondition_failed` when another connection has written it since; the slot is of no use any more.
    /// Anything else may have been written or not: the same session can be written again.
    pub async fn write(&mut self, session: &Session) -> Result<()> {
        let payload = session.encode_to_vec();
        // The same session at the same end is the same write, whoever asks again.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.end.next_offset.to_be_bytes());
        hasher.update(&payload);
        let publish = Publish {
            idempotency: hasher.finalize().as_bytes().first_chunk().copied(),
            if_end: Some(self.end),
            ..system::publish(&self.project, self.topic.clone(), payload, Retain::Set)
        };
        let published = self.shard.append(vec![publish]).await?.pop();
        let published = published.ok_or_else(interrupted)?;
        self.end = TopicEnd {
            topic: Some(published.topic),
            next_offset: published.offset + 1,
        };
        Ok(())
    }

    /// Removes the session with all that is known of it.
    ///
    /// # Errors
    /// `precondition_failed` when another connection has written it since.
    pub async fn remove(self) -> Result<()> {
        if self.end.topic.is_some() {
            self.shard
                .delete_topic(system::PROJECT, self.topic, Some(self.end))
                .await?;
        }
        Ok(())
    }
}

/// The session in a stored message.
///
/// # Errors
/// `corrupted` when there is none.
pub fn decode(message: &Bytes) -> Result<Session> {
    let damaged = || Refusal::new(ErrorCode::Corrupted, "a stored session cannot be read");
    let payload = system::payload(message).ok_or_else(damaged)?;
    Session::decode(payload).map_err(|_| damaged())
}

/// When the session has outlived its time, in milliseconds since the Unix epoch: not while it has a connection.
pub fn over_ms(session: &Session) -> Option<u64> {
    let lives_on = session.connected.is_some() || session.expiry_s == u32::MAX;
    let expiry_ms = u64::from(session.expiry_s) * 1_000;
    (!lives_on).then(|| session.disconnected_at_ms.saturating_add(expiry_ms))
}

/// Whether it has.
pub fn is_over(session: &Session, now_ms: u64) -> bool {
    over_ms(session).is_some_and(|over_ms| over_ms <= now_ms)
}

/// The session's own id; a new one where the stored one makes no sense.
pub fn id_of(session: &Session) -> SessionId {
    SessionId::try_from(&session.id[..]).unwrap_or_else(|_| SessionId::generate())
}
