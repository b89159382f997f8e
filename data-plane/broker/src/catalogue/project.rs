//! A project and how its topics are kept.

use std::{hash::Hasher, sync::Arc};

use highwater_proto::{
    ids::{ProjectId, ShardId, TenantId},
    limits::PAYLOAD_BYTES_MAX,
    names::{TopicFilter, TopicName},
    origin::OriginPattern,
};
use siphasher::sip::SipHasher24;

use crate::{handle::TopicPolicy, quota::Usage};

/// An isolated namespace of topics.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The name people gave it.
    pub name: String,
    /// Whether it may be used.
    pub state: State,
    /// The shards its topics are spread over. Never empty, and never reordered.
    pub shards: Vec<ShardId>,
    /// How topics are kept; the first policy whose filter matches decides.
    pub policies: Vec<(TopicFilter, Policy)>,
    /// Largest payload of one message, in bytes.
    pub payload_bytes_max: usize,
    /// What it may use.
    pub quotas: Quotas,
    /// What it uses of that on this node.
    pub usage: Arc<Usage>,
    /// The web pages that may use it, beside those of the service's own address.
    pub origins: Vec<OriginPattern>,
}

/// Whether what is in it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It may.
    #[default]
    Active,
    /// Nobody is let in, and nothing is removed.
    Suspended,
    /// Nobody is let in, and its data is being removed.
    Deleting,
}

/// What may be used, in the whole cluster. Nothing where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Messages a second that are taken.
    pub publish_messages_per_second: Option<u64>,
    /// Bytes of payload a second that are taken.
    pub publish_bytes_per_second: Option<u64>,
    /// Messages a second that are delivered.
    pub delivery_messages_per_second: Option<u64>,
    /// Bytes of payload a second that are delivered.
    pub delivery_bytes_per_second: Option<u64>,
    /// Connections that are open at once.
    pub connections: Option<u64>,
    /// Subscriptions that are open at once.
    pub subscriptions: Option<u64>,
    /// Topics.
    pub topics: Option<u64>,
    /// Bytes of the messages that are kept.
    pub stored_bytes: Option<u64>,
}

/// How topics are kept. The default keeps everything and creates topics on first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What decides how a publish is applied.
    pub topic: TopicPolicy,
    /// What decides how long records stay.
    pub retention: Retention,
}

/// How long records stay: until the first of these limits that is set is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Age in milliseconds.
    pub age_ms: Option<u64>,
    /// Bytes of messages of one topic.
    pub bytes: Option<u64>,
    /// Records of one topic.
    pub records: Option<u64>,
}

impl Retention {
    /// Whether anything is ever dropped.
    pub fn is_limited(&self) -> bool {
        self.age_ms.is_some() || self.bytes.is_some() || self.records.is_some()
    }
}

impl Project {
    /// A project whose topics are kept for good and created on first use.
    pub fn new(id: ProjectId, tenant: TenantId, name: &str, shards: Vec<ShardId>) -> Project {
        assert!(!shards.is_empty(), "a project has at least one shard");
        Project {
            id,
            tenant,
            name: name.to_owned(),
            state: State::default(),
            shards,
            policies: Vec::new(),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            quotas: Quotas::default(),
            usage: Usage::of_project(&Quotas::default(), None),
            origins: Vec::new(),
        }
    }

    /// The shard that keeps a topic.
    pub fn shard_of(&self, topic: &TopicName) -> ShardId {
        if let [only] = self.shards.as_slice() {
            return *only;
        }
        // A hash that no release may change: it says where data lies.
        let mut hasher = SipHasher24::new_with_keys(0x6869_6768, 0x7761_7465);
        hasher.write(self.id.as_bytes());
        hasher.write(topic.as_str().as_bytes());
        self.shards[(hasher.finish() % self.shards.len() as u64) as usize]
    }

    /// How a topic is kept.
    pub fn policy(&self, topic: &TopicName) -> Policy {
        let mut policies = self.policies.iter();
        let found = policies.find(|(filter, _)| filter.matches(topic.as_str()));
        let mut policy = found.map(|(_, policy)| *policy).unwrap_or_default();
        policy.topic.topics_max = self.in_each_shard(self.quotas.topics);
        policy.topic.stored_bytes_max = self.in_each_shard(self.quotas.stored_bytes);
        policy
    }

    /// A shard knows only what it holds itself; topics are spread evenly.
    fn in_each_shard(&self, limit: Option<u64>) -> Option<u64> {
        limit.map(|limit| limit.div_ceil(self.shards.len() as u64))
    }
}

/// The shards a project is spread over, out of all of them: the `spread` that rank highest by a hash
/// of project and shard (rendezvous hashing), so that tenants share few shards with each other.
pub fn place_project(id: ProjectId, spread: usize, shards: u32) -> Vec<ShardId> {
    let weight = |shard: u32| {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(id.as_bytes());
        bytes[16..].copy_from_slice(&shard.to_be_bytes());
        *blake3::hash(&bytes).as_bytes()
    };
    let mut ranked: Vec<u32> = (0..shards).collect();
    ranked.sort_by_key(|shard| std::cmp::Reverse(weight(*shard)));
    ranked.truncate(spread.max(1));
    ranked.into_iter().map(ShardId).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_keeps_its_shards_when_its_spread_grows() {
        let id = ProjectId::from_bytes([3; 16]);
        let few = place_project(id, 2, 64);
        let more = place_project(id, 5, 64);
        assert_eq!(few, more[..2]);
        assert_eq!(place_project(id, 8, 1), vec![ShardId(0)]);
    }
}
