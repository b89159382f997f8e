//! The resume string: one opaque text that every protocol carries and every node understands.
//!
//! A cursor says what to read next: an offset of one topic, or a position in each shard that a
//! filter covers. It is sealed with a keyed hash (SipHash-2-4 over a secret of the cluster) and
//! carries a tag of its project, so that a made-up cursor and one of another project are told apart
//! from a good one before anything is read. The seal is a check, not a permission: what a cursor
//! may read is decided by the credential of the request that brings it.
//!
//! ```text
//! topic cursor   0x01 │ project tag 4 │ shard 4 │ topic id 8 │ next offset 8 │ seal 8
//! feed cursor    0x02 │ project tag 4 │ count 1 │ (shard 4 │ next position 8)… │ seal 8
//! ```
//! A reader of what is retained that has not had all of it has another kind of cursor: 0x03 is a topic
//! cursor before which the topic's retained record comes, and in 0x04 each position is followed by the one
//! up to which only retained records are wanted, 8 bytes, all ones for none.
//!
//! Integers are big-endian; the whole is base64url without padding (RFC 4648, section 5).

use std::hash::Hasher;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::{
    ErrorCode,
    ids::{ProjectId, ShardId, TopicId},
    limits::FEED_SHARDS_MAX,
};
use siphasher::sip::SipHasher24;

use crate::refusal::{Refusal, Result};

/// The number no topic has: stands in cursors of a topic that does not exist yet.
pub const NO_TOPIC: TopicId = TopicId(u64::MAX);

/// What a reader reads next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// An offset of one topic.
    Topic(TopicCursor),
    /// A position in each of these shards, in ascending order of the shards.
    Feed(Vec<FeedPosition>),
}

/// The next offset to read of one incarnation of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicCursor {
    /// The shard that keeps the topic.
    pub shard: ShardId,
    /// The topic's number there, which a topic made anew under the same name does not share.
    pub topic: TopicId,
    /// The next offset to read.
    pub next_offset: u64,
    /// The topic's retained record, if it has one before that offset, comes first.
    pub owes_retained: bool,
}

/// The next position to read of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPosition {
    /// The shard.
    pub shard: ShardId,
    /// The next position to read.
    pub next_position: u64,
    /// Up to this position, only retained records are wanted.
    pub retained_until: Option<u64>,
}

/// Seals and opens cursors with the secret of the cluster.
#[derive(Clone)]
pub struct Cursors {
    keys: (u64, u64),
}

const TOPIC: u8 = 1;
const FEED: u8 = 2;
const TOPIC_RETAINED: u8 = 3;
const FEED_RETAINED: u8 = 4;
/// Stands for no position: no shard ever gets there.
const NOWHERE: u64 = u64::MAX;
const SEAL_BYTES: usize = 8;
const TOPIC_BYTES: usize = 1 + 4 + 4 + 8 + 8 + SEAL_BYTES;
const FEED_ENTRY_BYTES: usize = 12;
const FEED_RETAINED_ENTRY_BYTES: usize = 20;
const FEED_HEADER_BYTES: usize = 6;

impl Cursors {
    /// From the secret that all nodes of the cluster share.
    pub fn new(cluster_secret: &[u8]) -> Cursors {
        let key = blake3::derive_key("highwater 2026-11 cursor seal", cluster_secret);
        let word = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().expect("8 bytes"));
        Cursors {
            keys: (word(0), word(8)),
        }
    }

    /// The text of a topic cursor.
    pub fn seal_topic(&self, project: ProjectId, cursor: TopicCursor) -> String {
        let mut raw = [0; TOPIC_BYTES];
        raw[0] = match cursor.owes_retained {
            true => TOPIC_RETAINED,
            false => TOPIC,
        };
        raw[1..5].copy_from_slice(&self.tag(project));
        raw[5..9].copy_from_slice(&cursor.shard.0.to_be_bytes());
        raw[9..17].copy_from_slice(&cursor.topic.0.to_be_bytes());
        raw[17..25].copy_from_slice(&cursor.next_offset.to_be_bytes());
        let seal = self.hash(&raw[..25]).to_be_bytes();
        raw[25..].copy_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(raw)
    }

    /// The text of a feed cursor.
    pub fn seal_feed(&self, project: ProjectId, positions: &[FeedPosition]) -> String {
        assert!(
            positions.len() <= FEED_SHARDS_MAX,
            "a feed spans few shards"
        );
        let (kind, entry_bytes) = match positions.iter().any(|p| p.retained_until.is_some()) {
            true => (FEED_RETAINED, FEED_RETAINED_ENTRY_BYTES),
            false => (FEED, FEED_ENTRY_BYTES),
        };
        let capacity = FEED_HEADER_BYTES + positions.len() * entry_bytes + SEAL_BYTES;
        let mut raw = Vec::with_capacity(capacity);
        raw.push(kind);
        raw.extend(self.tag(project));
        raw.push(positions.len() as u8);
        for position in positions {
            raw.extend(position.shard.0.to_be_bytes());
            raw.extend(position.next_position.to_be_bytes());
            if kind == FEED_RETAINED {
                raw.extend(position.retained_until.unwrap_or(NOWHERE).to_be_bytes());
            }
        }
        let seal = self.hash(&raw).to_be_bytes();
        raw.extend(seal);
        URL_SAFE_NO_PAD.encode(raw)
    }

    /// The text of either kind.
    pub fn seal(&self, project: ProjectId, cursor: &Cursor) -> String {
        match cursor {
            Cursor::Topic(topic) => self.seal_topic(project, *topic),
            Cursor::Feed(positions) => self.seal_feed(project, positions),
        }
    }

    /// Reads a cursor that came from outside.
    ///
    /// # Errors
    /// `cursor_invalid` when it was not made by this cluster, `cursor_foreign` when it was made for
    /// another project.
    pub fn open(&self, project: ProjectId, text: &str) -> Result<Cursor> {
        let invalid = || Refusal::new(ErrorCode::CursorInvalid, "this is not a cursor");
        // The longest cursor there can be, so that nothing larger is decoded.
        let bytes_max =
            FEED_HEADER_BYTES + FEED_SHARDS_MAX * FEED_RETAINED_ENTRY_BYTES + SEAL_BYTES;
        if text.len() > bytes_max.div_ceil(3) * 4 {
            return Err(invalid());
        }
        let raw = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        if raw.len() < FEED_HEADER_BYTES + SEAL_BYTES {
            return Err(invalid());
        }
        let (body, seal) = raw.split_at(raw.len() - SEAL_BYTES);
        if self.hash(body).to_be_bytes() != seal {
            return Err(invalid());
        }
        if body[1..5] != self.tag(project) {
            return Err(Refusal::new(
                ErrorCode::CursorForeign,
                "this cursor belongs to another project",
            ));
        }
        let u32_at = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        match body[0] {
            kind @ (TOPIC | TOPIC_RETAINED) if raw.len() == TOPIC_BYTES => {
                Ok(Cursor::Topic(TopicCursor {
                    shard: ShardId(u32_at(5)),
                    topic: TopicId(u64_at(9)),
                    next_offset: u64_at(17),
                    owes_retained: kind == TOPIC_RETAINED,
                }))
            }
            kind @ (FEED | FEED_RETAINED) => {
                let entry_bytes = match kind {
                    FEED => FEED_ENTRY_BYTES,
                    _ => FEED_RETAINED_ENTRY_BYTES,
                };
                let count = usize::from(body[5]);
                if count > FEED_SHARDS_MAX || body.len() != FEED_HEADER_BYTES + count * entry_bytes
                {
                    return Err(invalid());
                }
                let until = |at: usize| (kind == FEED_RETAINED).then(|| u64_at(at + 12));
                let entry = |at: usize| FeedPosition {
                    shard: ShardId(u32_at(at)),
                    next_position: u64_at(at + 4),
                    retained_until: until(at).filter(|until| *until != NOWHERE),
                };
                let starts = (FEED_HEADER_BYTES..body.len()).step_by(entry_bytes);
                Ok(Cursor::Feed(starts.map(entry).collect()))
            }
            _ => Err(invalid()),
        }
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(bytes);
        hasher.finish()
    }

    /// Four bytes that tell projects apart without naming them.
    fn tag(&self, project: ProjectId) -> [u8; 4] {
        (self.hash(project.as_bytes()) as u32).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROJECT: ProjectId = ProjectId::from_bytes([7; 16]);

    fn cursors() -> Cursors {
        Cursors::new(b"a secret of the cluster")
    }

    fn any_cursor() -> impl Strategy<Value = Cursor> {
        let topic = any::<(u32, u64, u64, bool)>();
        let topic = topic.prop_map(|(shard, topic, next_offset, owes_retained)| {
            Cursor::Topic(TopicCursor {
                shard: ShardId(shard),
                topic: TopicId(topic),
                next_offset,
                owes_retained,
            })
        });
        let until = prop::option::weighted(0.1, 0..NOWHERE);
        let position = (any::<(u32, u64)>(), until);
        let position = position.prop_map(|((shard, next_position), retained_until)| FeedPosition {
            shard: ShardId(shard),
            next_position,
            retained_until,
        });
        let feed = prop::collection::vec(position, 0..=FEED_SHARDS_MAX).prop_map(Cursor::Feed);
        prop_oneof![topic, feed]
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_as_it_was_sealed(cursor in any_cursor()) {
            let text = cursors().seal(PROJECT, &cursor);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(cursors().open(PROJECT, &text), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_refused(text in "\\PC{0,1200}") {
            prop_assert!(cursors().open(PROJECT, &text).is_err());
        }

        #[test]
        fn a_changed_cursor_is_refused(cursor in any_cursor(), at in any::<prop::sample::Index>()) {
            let mut text = cursors().seal(PROJECT, &cursor).into_bytes();
            let at = at.index(text.len());
            text[at] = if text[at] == b'A' { b'Q' } else { b'A' };
            let text = String::from_utf8(text).unwrap();
            prop_assert!(cursors().open(PROJECT, &text).is_err());
        }
    }

    #[test]
    fn a_topic_cursor_fits_in_64_bytes() {
        let cursor = TopicCursor {
            shard: ShardId(u32::MAX),
            topic: TopicId(u64::MAX),
            next_offset: u64::MAX,
            owes_retained: true,
        };
        assert!(cursors().seal_topic(PROJECT, cursor).len() <= 64);
    }

    #[test]
    fn a_cursor_of_another_project_is_foreign() {
        let text = cursors().seal(PROJECT, &Cursor::Feed(vec![]));
        let other = ProjectId::from_bytes([8; 16]);
        let refusal = cursors().open(other, &text).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::CursorForeign);
    }

    #[test]
    fn a_cursor_of_another_cluster_is_invalid() {
        let text = Cursors::new(b"another secret").seal(PROJECT, &Cursor::Feed(vec![]));
        let refusal = cursors().open(PROJECT, &text).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::CursorInvalid);
    }
}
