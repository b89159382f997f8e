//! Every key of the topic store, built and read in this one place.
//!
//! ```text
//! shard u32 · generation u32 · family u8 · what the family is ordered by
//! ```
//!
//! All numbers are big-endian, so that keys sort as what they mean. A snapshot is installed into the
//! next generation while the current one is read; one write then makes it the current one and the
//! old one is a single range to delete. Generation 0 is for what stands beside the generations.
//!
//! Numbers of families lie on disks: they are never reused for something else.

use std::ops::Range;

use highwater_proto::ids::{ProjectId, ShardId, TopicId};

/// A range of keys: from the first, to before the second.
pub type KeyRange = Range<Vec<u8>>;

/// Bytes before a key's family.
pub const PREFIX_BYTES: usize = 8;
/// The first generation of a shard's data. Lower ones hold no data.
pub const FIRST_GENERATION: u32 = 1;

/// Stands for the node where a shard's number is expected.
const NODE: ShardId = ShardId(u32::MAX);

mod family {
    pub const FORMAT: u8 = 1;
    pub const GENERATION: u8 = 2;
    pub const COUNTERS: u8 = 3;
    pub const APPLIED: u8 = 4;
    pub const TOPIC: u8 = 5;
    pub const BLOCK: u8 = 6;
    pub const FEED: u8 = 7;
    pub const FEED_FLOOR: u8 = 8;
    pub const IDEMPOTENCY: u8 = 9;
    pub const KEYED: u8 = 10;
    pub const TOMBSTONE: u8 = 11;
    pub const ERASURE: u8 = 12;
    pub const IDENTITY: u8 = 13;
    pub const RETAINED: u8 = 14;
    pub const USAGE: u8 = 15;
    pub const USAGE_NOW: u8 = 16;
    pub const METERS: u8 = 17;
}

/// Where the node's format version is.
pub fn format() -> Vec<u8> {
    beside(NODE, family::FORMAT)
}

/// Where it stands whose data this is.
pub fn identity() -> Vec<u8> {
    beside(NODE, family::IDENTITY)
}

/// Where a shard's current generation is, if it is not the first.
pub fn generation(shard: ShardId) -> Vec<u8> {
    beside(shard, family::GENERATION)
}

/// Where it stands that a range was deleted whose bytes may still lie on the disk. The value is the
/// range's end, so that a longer range with the same start takes the place of a shorter one.
pub fn erasure(start: &[u8]) -> Vec<u8> {
    let mut key = beside(NODE, family::ERASURE);
    key.extend_from_slice(start);
    key
}

/// All keys of [`erasure`].
pub fn erasures() -> KeyRange {
    under(beside(NODE, family::ERASURE))
}

/// The start of the range that a key of [`erasure`] is about.
pub fn erasure_start(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&beside(NODE, family::ERASURE)[..])
}

fn beside(shard: ShardId, family: u8) -> Vec<u8> {
    let mut key = Prefix::new(shard, 0).0.to_vec();
    key.push(family);
    key
}

/// The generations of a shard from one to before another.
pub fn generations(shard: ShardId, generations: Range<u32>) -> KeyRange {
    let key = |generation| Prefix::new(shard, generation).0.to_vec();
    key(generations.start)..key(generations.end)
}

/// All generations of a shard from one on.
pub fn generations_from(shard: ShardId, first: u32) -> KeyRange {
    let start = Prefix::new(shard, first).0.to_vec();
    let end = Prefix::new(ShardId(shard.0 + 1), 0).0.to_vec();
    start..end
}

/// What the keys of one generation of a shard begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix([u8; PREFIX_BYTES]);

/// A key of a shard's data, without its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The numbers of the shard.
    Counters,
    /// The last applied log id and the membership.
    Applied,
    /// The description of a topic.
    Topic(TopicId),
    /// Records of a topic from this offset on.
    Block(TopicId, u64),
    /// Runs of a project's records from this position on.
    Feed(ProjectId, u64),
    /// The position before which a project's feed is gone.
    FeedFloor(ProjectId),
    /// An idempotency key: the window it was used in, the topic, the key.
    Idempotency(u64, TopicId, [u8; 16]),
    /// The newest record of a compaction key.
    Keyed(TopicId, [u8; 16]),
    /// A deleted topic, for readers of the feed that have not passed it.
    Tombstone(ProjectId, TopicId),
    /// A topic's retained record.
    Retained(TopicId),
    /// What a project has used in an hour that is over.
    Usage(ProjectId, u64),
    /// What it has used in the last hour in which it has used anything.
    UsageNow(ProjectId),
    /// Whose readings were taken.
    Meters,
}

impl Prefix {
    /// Of one generation of a shard.
    pub fn new(shard: ShardId, generation: u32) -> Prefix {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[..4].copy_from_slice(&shard.0.to_be_bytes());
        bytes[4..].copy_from_slice(&generation.to_be_bytes());
        Prefix(bytes)
    }

    /// The whole key.
    pub fn key(&self, key: Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + 33);
        bytes.extend_from_slice(&self.0);
        key.encode(&mut bytes);
        bytes
    }

    /// The whole key of a suffix from another generation or node.
    pub fn join(&self, suffix: &[u8]) -> Vec<u8> {
        [&self.0[..], suffix].concat()
    }

    /// All keys of the generation.
    pub fn all(&self) -> KeyRange {
        under(self.0.to_vec())
    }

    /// The descriptions of all topics.
    pub fn topics(&self) -> KeyRange {
        self.family(family::TOPIC, &[])
    }

    /// The blocks of a topic.
    pub fn blocks(&self, topic: TopicId) -> KeyRange {
        self.family(family::BLOCK, &topic.0.to_be_bytes())
    }

    /// The compaction keys of a topic.
    pub fn keyed(&self, topic: TopicId) -> KeyRange {
        self.family(family::KEYED, &topic.0.to_be_bytes())
    }

    /// The retained record of a topic.
    pub fn retained(&self, topic: TopicId) -> KeyRange {
        self.family(family::RETAINED, &topic.0.to_be_bytes())
    }

    /// What a project has used in hours that are over.
    pub fn usage(&self, project: ProjectId, hours: Range<u64>) -> KeyRange {
        self.key(Key::Usage(project, hours.start))..self.key(Key::Usage(project, hours.end))
    }

    /// What all projects have used in their last hours.
    pub fn usage_now(&self) -> KeyRange {
        self.family(family::USAGE_NOW, &[])
    }

    /// The idempotency keys used in windows before this one.
    pub fn idempotency_before(&self, window: u64) -> KeyRange {
        let all = self.family(family::IDEMPOTENCY, &[]);
        let end = self.family(family::IDEMPOTENCY, &window.to_be_bytes());
        all.start..end.start
    }

    fn family(&self, family: u8, rest: &[u8]) -> KeyRange {
        under([&self.0[..], &[family], rest].concat())
    }
}

impl Key {
    fn encode(&self, out: &mut Vec<u8>) {
        let (family, id) = match self {
            Key::Counters => return out.push(family::COUNTERS),
            Key::Applied => return out.push(family::APPLIED),
            Key::Meters => return out.push(family::METERS),
            Key::Usage(project, _) => (family::USAGE, &project.as_bytes()[..]),
            Key::UsageNow(project) => (family::USAGE_NOW, &project.as_bytes()[..]),
            Key::Feed(project, _) => (family::FEED, &project.as_bytes()[..]),
            Key::FeedFloor(project) => (family::FEED_FLOOR, &project.as_bytes()[..]),
            Key::Tombstone(project, _) => (family::TOMBSTONE, &project.as_bytes()[..]),
            Key::Topic(topic) => (family::TOPIC, &topic.0.to_be_bytes()[..]),
            Key::Block(topic, _) => (family::BLOCK, &topic.0.to_be_bytes()[..]),
            Key::Keyed(topic, _) => (family::KEYED, &topic.0.to_be_bytes()[..]),
            Key::Retained(topic) => (family::RETAINED, &topic.0.to_be_bytes()[..]),
            Key::Idempotency(window, ..) => (family::IDEMPOTENCY, &window.to_be_bytes()[..]),
        };
        out.push(family);
        out.extend_from_slice(id);
        match self {
            Key::Block(_, number)
            | Key::Feed(_, number)
            | Key::Usage(_, number)
            | Key::Tombstone(_, TopicId(number)) => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            Key::Keyed(_, key) => out.extend_from_slice(key),
            Key::Idempotency(_, topic, key) => {
                out.extend_from_slice(&topic.0.to_be_bytes());
                out.extend_from_slice(key);
            }
            Key::Counters
            | Key::Applied
            | Key::Meters
            | Key::Topic(_)
            | Key::FeedFloor(_)
            | Key::Retained(_)
            | Key::UsageNow(_) => {}
        }
    }

    /// The key these bytes are, which stand after a prefix.
    pub fn decode(suffix: &[u8]) -> Option<Key> {
        let (&family, mut rest) = suffix.split_first()?;
        let key = match family {
            family::COUNTERS => Key::Counters,
            family::APPLIED => Key::Applied,
            family::TOPIC => Key::Topic(topic(&mut rest)?),
            family::BLOCK => Key::Block(topic(&mut rest)?, number(&mut rest)?),
            family::FEED => Key::Feed(project(&mut rest)?, number(&mut rest)?),
            family::FEED_FLOOR => Key::FeedFloor(project(&mut rest)?),
            family::IDEMPOTENCY => {
                let (window, topic) = (number(&mut rest)?, topic(&mut rest)?);
                Key::Idempotency(window, topic, hash(&mut rest)?)
            }
            family::KEYED => Key::Keyed(topic(&mut rest)?, hash(&mut rest)?),
            family::TOMBSTONE => Key::Tombstone(project(&mut rest)?, topic(&mut rest)?),
            family::RETAINED => Key::Retained(topic(&mut rest)?),
            family::USAGE => Key::Usage(project(&mut rest)?, number(&mut rest)?),
            family::USAGE_NOW => Key::UsageNow(project(&mut rest)?),
            family::METERS => Key::Meters,
            _ => return None,
        };
        rest.is_empty().then_some(key)
    }

    /// The same, from the whole key.
    pub fn decode_whole(key: &[u8]) -> Option<Key> {
        Key::decode(key.get(PREFIX_BYTES..)?)
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_be_bytes(*bytes))
}

fn topic(rest: &mut &[u8]) -> Option<TopicId> {
    number(rest).map(TopicId)
}

fn hash(rest: &mut &[u8]) -> Option<[u8; 16]> {
    let (bytes, after) = rest.split_first_chunk::<16>()?;
    *rest = after;
    Some(*bytes)
}

fn project(rest: &mut &[u8]) -> Option<ProjectId> {
    hash(rest).map(ProjectId::from_bytes)
}

/// All keys that begin with these bytes.
fn under(start: Vec<u8>) -> KeyRange {
    let mut end = start.clone();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    let last = end.last_mut().expect("a prefix has a byte below 255");
    *last += 1;
    start..end
}

#[cfg(test)]
mod tests;
