//! The small values of the store: descriptions of topics, numbers of a shard, tombstones.
//!
//! Each begins with the version of its layout. Numbers are little-endian. They have no checksum of
//! their own: what keeps them has one for everything it reads.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use highwater_broker::{
    metering::Hour,
    segment::TopicIdentity,
    state::{Counters, RetainedRecord, Topic},
};
use highwater_proto::{
    cluster,
    ids::{NodeId, ProjectId, TopicId},
    names::TopicName,
};
use prost::Message;

use super::{Identity, StoreError};
use crate::log::LogId;

/// The layout of every value here.
const VERSION: u8 = 1;
/// That of the description of a topic with a retained record: its offset and position come before the
/// name.
const VERSION_RETAINING: u8 = 2;

const LAST_VALUE: u8 = 1;
const SPARSE: u8 = 2;

/// Checks the version and that at least so many bytes follow it.
fn open<'a>(value: &'a [u8], bytes: usize, what: &str) -> Result<&'a [u8], StoreError> {
    open_version(VERSION, value, bytes, what)
}

fn open_version<'a>(
    known: u8,
    mut value: &'a [u8],
    bytes: usize,
    what: &str,
) -> Result<&'a [u8], StoreError> {
    match value.try_get_u8() {
        Ok(version) if version == known && value.len() >= bytes => Ok(value),
        Ok(version) if version == known => Err(damaged(what)),
        Err(_) => Err(damaged(what)),
        Ok(version) => Err(StoreError::Corrupted(format!(
            "{what} has version {version}, which this release does not know"
        ))),
    }
}

/// What is reported of a value that makes no sense.
pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Corrupted(format!("{what} is damaged"))
}

/// A topic's description. `sparse` says that it may lack records that newer ones have superseded.
pub fn encode_topic(topic: &Topic, sparse: bool) -> Vec<u8> {
    let name = topic.identity.name.as_str();
    let mut out = Vec::with_capacity(82 + name.len());
    out.put_u8(match topic.retained {
        None => VERSION,
        Some(_) => VERSION_RETAINING,
    });
    out.put_u8(if topic.last_value { LAST_VALUE } else { 0 } | if sparse { SPARSE } else { 0 });
    out.put_slice(topic.identity.project.as_bytes());
    for number in [
        topic.first_offset,
        topic.next_offset,
        topic.first_bytes,
        topic.next_bytes,
        topic.last_position,
        topic.time_ms,
    ] {
        out.put_u64_le(number);
    }
    if let Some(retained) = topic.retained {
        out.put_u64_le(retained.offset);
        out.put_u64_le(retained.position);
    }
    out.put_slice(name.as_bytes());
    out
}

/// The topic, and whether it is sparse.
pub fn decode_topic(id: TopicId, value: &[u8]) -> Result<(Topic, bool), StoreError> {
    const BYTES: usize = 1 + 16 + 6 * 8;
    let what = "a topic's description";
    let retaining = value.first() == Some(&VERSION_RETAINING);
    let mut rest = match retaining {
        true => open_version(VERSION_RETAINING, value, BYTES + 2 * 8, what)?,
        false => open(value, BYTES, what)?,
    };
    let flags = rest.get_u8();
    let project = get_project(&mut rest);
    let (first_offset, next_offset) = (rest.get_u64_le(), rest.get_u64_le());
    let (first_bytes, next_bytes) = (rest.get_u64_le(), rest.get_u64_le());
    let (last_position, time_ms) = (rest.get_u64_le(), rest.get_u64_le());
    let retained = retaining.then(|| RetainedRecord {
        offset: rest.get_u64_le(),
        position: rest.get_u64_le(),
    });
    let name = get_name(rest).ok_or_else(|| damaged("a topic's name"))?;
    let beyond = |retained: RetainedRecord| retained.offset >= next_offset;
    if first_offset > next_offset || first_bytes > next_bytes || retained.is_some_and(beyond) {
        return Err(damaged(what));
    }
    let topic = Topic {
        identity: Arc::new(TopicIdentity::new(project, name, id)),
        first_offset,
        next_offset,
        first_bytes,
        next_bytes,
        last_position,
        time_ms,
        last_value: flags & LAST_VALUE != 0,
        retained,
    };
    Ok((topic, flags & SPARSE != 0))
}

fn get_project(rest: &mut &[u8]) -> ProjectId {
    let mut bytes = [0; 16];
    rest.copy_to_slice(&mut bytes);
    ProjectId::from_bytes(bytes)
}

fn get_name(bytes: &[u8]) -> Option<TopicName> {
    TopicName::try_from(std::str::from_utf8(bytes).ok()?).ok()
}

/// The numbers of a shard.
pub fn encode_counters(counters: &Counters) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.put_u64_le(counters.next_position);
    out.put_u64_le(counters.next_topic);
    out.put_u64_le(counters.time_ms);
    out
}

/// Reads [`encode_counters`].
pub fn decode_counters(value: &[u8]) -> Result<Counters, StoreError> {
    let mut rest = open(value, 24, "a shard's numbers")?;
    Ok(Counters {
        next_position: rest.get_u64_le(),
        next_topic: rest.get_u64_le(),
        time_ms: rest.get_u64_le(),
    })
}

/// How far a shard has applied its log, and the membership as of there.
pub fn encode_applied(id: LogId, membership: Option<&Bytes>) -> Vec<u8> {
    let mut out = vec![VERSION];
    for number in [id.term, id.node, id.index] {
        out.put_u64_le(number);
    }
    if let Some(membership) = membership {
        out.put_u8(1);
        out.put_slice(membership);
    }
    out
}

/// Reads [`encode_applied`].
pub fn decode_applied(value: &[u8]) -> Result<(LogId, Option<Bytes>), StoreError> {
    let mut rest = open(value, 24, "a shard's applied log id")?;
    let id = LogId {
        term: rest.get_u64_le(),
        node: rest.get_u64_le(),
        index: rest.get_u64_le(),
    };
    let membership = (!rest.is_empty()).then(|| Bytes::copy_from_slice(&rest[1..]));
    Ok((id, membership))
}

/// A deleted topic that readers of the feed may not have passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Its name.
    pub name: TopicName,
    /// The offset after its last record.
    pub next_offset: u64,
}

/// What is kept of a deleted topic.
pub fn encode_tombstone(tombstone: &Tombstone) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.put_u64_le(tombstone.next_offset);
    out.put_slice(tombstone.name.as_str().as_bytes());
    out
}

/// Reads [`encode_tombstone`].
pub fn decode_tombstone(value: &[u8]) -> Result<Tombstone, StoreError> {
    let mut rest = open(value, 8, "a deleted topic's remains")?;
    Ok(Tombstone {
        next_offset: rest.get_u64_le(),
        name: get_name(rest).ok_or_else(|| damaged("a deleted topic's name"))?,
    })
}

/// Whose data it is.
pub fn encode_identity(identity: &Identity) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.put_u64_le(identity.node.0);
    out.put_u32_le(identity.shards);
    out.put_u32_le(identity.replication);
    out.put_slice(identity.cluster.as_bytes());
    out
}

/// Reads [`encode_identity`].
pub fn decode_identity(value: &[u8]) -> Result<Identity, StoreError> {
    let mut rest = open(value, 16, "the note whose data this is")?;
    Ok(Identity {
        node: NodeId(rest.get_u64_le()),
        shards: rest.get_u32_le(),
        replication: rest.get_u32_le(),
        cluster: String::from_utf8(rest.to_vec())
            .map_err(|_| damaged("the name of the data's cluster"))?,
    })
}

/// What a project has used in an hour.
pub fn encode_hour(hour: &Hour) -> Vec<u8> {
    encode_message(&hour.to_wire())
}

/// Reads [`encode_hour`].
pub fn decode_hour(value: &[u8]) -> Result<Hour, StoreError> {
    decode_message(value, "what a project has used").map(|hour| Hour::from_wire(&hour))
}

/// Whose readings were taken.
pub fn encode_meters(meters: &cluster::Meters) -> Vec<u8> {
    encode_message(meters)
}

/// Reads [`encode_meters`].
pub fn decode_meters(value: &[u8]) -> Result<cluster::Meters, StoreError> {
    decode_message(value, "whose readings were taken")
}

fn encode_message(message: &impl Message) -> Vec<u8> {
    let mut out = vec![VERSION];
    message.encode(&mut out).expect("a growing buffer has room");
    out
}

fn decode_message<M: Message + Default>(value: &[u8], what: &str) -> Result<M, StoreError> {
    M::decode(open(value, 0, what)?).map_err(|_| damaged(what))
}

/// A number on its own: an offset, a position, a generation, a version.
pub fn encode_number(number: u64) -> [u8; 9] {
    let mut out = [VERSION; 9];
    out[1..].copy_from_slice(&number.to_le_bytes());
    out
}

/// Reads [`encode_number`].
pub fn decode_number(value: &[u8]) -> Result<u64, StoreError> {
    Ok(open(value, 8, "a number")?.get_u64_le())
}

#[cfg(test)]
mod tests;
