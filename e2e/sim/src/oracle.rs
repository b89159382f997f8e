//! What clients were told, held against everything anyone sees later.
//!
//! Each topic has a book: which message stands at which offset, as told by acks, deliveries and reads
//! alike. All of them must agree, for ever. `end` is how far the topic certainly reached at some moment
//! in the past: whatever begins after that moment and claims to be linearizable must see at least that.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_broker::{handle::Published, refusal::Refusal, segment::Slice};
use highwater_proto::{
    ids::{ShardId, TopicId},
    names::TopicName,
};

use crate::{counts::Counts, message::MessageId};

/// A sentence that says which promise was broken.
pub type Verdict = Result<(), String>;

/// What all clients know together.
#[derive(Default)]
pub struct Oracle {
    topics: BTreeMap<TopicName, Book>,
    /// Which record stands at each position of a shard.
    positions: BTreeMap<(ShardId, u64), (TopicName, u64)>,
    /// How far each shard certainly reached.
    shard_ends: BTreeMap<ShardId, u64>,
    counts: Counts,
}

/// What is known of one topic.
#[derive(Default)]
struct Book {
    id: Option<TopicId>,
    records: BTreeMap<u64, MessageId>,
    fates: BTreeMap<MessageId, Fate>,
    end: u64,
}

/// What is known of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was sent, or nobody can know.
    Open,
    /// The publisher was told that nothing was written.
    Refused,
    /// It was seen at this offset, and perhaps acknowledged there.
    At { offset: u64, acked: bool },
}

impl Oracle {
    /// How much happened.
    pub fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// How far a topic certainly reaches now.
    pub fn end(&self, topic: &TopicName) -> u64 {
        self.topics.get(topic).map_or(0, |book| book.end)
    }

    /// How far a shard certainly reaches now.
    pub fn shard_end(&self, shard: ShardId) -> u64 {
        self.shard_ends.get(&shard).copied().unwrap_or(0)
    }

    /// Every record anyone has seen: its shard, its position there, its topic and its offset.
    pub fn records(&self) -> impl Iterator<Item = (ShardId, u64, &TopicName, u64)> {
        let records = self.positions.iter();
        records.map(|((shard, position), (topic, offset))| (*shard, *position, topic, *offset))
    }

    /// A message is about to be published.
    pub fn publishing(&mut self, topic: &TopicName, message: MessageId) {
        let book = self.topics.entry(topic.clone()).or_default();
        book.fates.entry(message).or_insert(Fate::Open);
    }

    /// It was acknowledged. `floor` is what [`Oracle::end`] was when it was sent for the first time.
    pub fn acked(
        &mut self,
        topic: &TopicName,
        message: MessageId,
        published: Published,
        floor: u64,
    ) -> Verdict {
        self.counts.add("acked", 1);
        self.counts
            .add("duplicates", u64::from(published.duplicate));
        let book = self.topics.entry(topic.clone()).or_default();
        let offset = published.offset;
        if offset < floor {
            return Err(format!(
                "{topic}: {message} was sent after offset {floor} was reached, acknowledged at {offset}"
            ));
        }
        book.stands_at(topic, published.topic, offset, message)?;
        book.fates.insert(
            message,
            Fate::At {
                offset,
                acked: true,
            },
        );
        book.end = book.end.max(offset + 1);
        Ok(())
    }

    /// It was refused, or its outcome is not known.
    pub fn not_acked(
        &mut self,
        topic: &TopicName,
        message: MessageId,
        refusal: &Refusal,
    ) -> Verdict {
        if !refusal.code().has_no_side_effects() {
            self.counts.add("unknown", 1);
            return Ok(());
        }
        self.counts.add("refused", 1);
        let book = self.topics.entry(topic.clone()).or_default();
        match book.fates.get(&message) {
            Some(Fate::At { offset, .. }) => Err(format!(
                "{topic}: {message} was refused ({}) and stands at {offset}",
                refusal.code()
            )),
            _ => {
                book.fates.insert(message, Fate::Refused);
                Ok(())
            }
        }
    }

    /// Somebody was given these records.
    pub fn seen(&mut self, shard: ShardId, slice: &Slice) -> Verdict {
        let (segment, topic) = (&slice.segment, &slice.segment.topic);
        for index in slice.start..slice.end {
            let offset = segment.base_offset + index as u64;
            let position = segment.base_position + index as u64;
            self.counts.add("seen", 1);
            self.one_seen(&topic.name, topic.id, offset, &segment.messages[index])?;
            let place = (topic.name.clone(), offset);
            let known = self.positions.entry((shard, position)).or_insert(place);
            if (&known.0, known.1) != (&topic.name, offset) {
                return Err(format!(
                    "position {position} of shard {shard} is {}@{} and {}@{offset}",
                    known.0, known.1, topic.name
                ));
            }
            let end = self.shard_ends.entry(shard).or_default();
            *end = (*end).max(position + 1);
        }
        Ok(())
    }

    fn one_seen(&mut self, topic: &TopicName, id: TopicId, offset: u64, bytes: &Bytes) -> Verdict {
        let message = MessageId::decode(bytes)
            .ok_or_else(|| format!("{topic}@{offset} holds bytes that nobody published"))?;
        let book = self.topics.entry(topic.clone()).or_default();
        book.stands_at(topic, id, offset, message)?;
        book.end = book.end.max(offset + 1);
        match book.fates.get(&message) {
            Some(Fate::At { .. }) => Ok(()),
            Some(Fate::Open) => {
                let acked = false;
                book.fates.insert(message, Fate::At { offset, acked });
                Ok(())
            }
            Some(Fate::Refused) => Err(format!(
                "{topic}@{offset} is {message}, whose publisher was told that nothing was written"
            )),
            None => Err(format!(
                "{topic}@{offset} is {message}, which is of another topic"
            )),
        }
    }

    /// A topic was seen to reach this far by an answer that is linearizable. `floor` is what
    /// [`Oracle::end`] was when the question was asked.
    pub fn reaches(&mut self, topic: &TopicName, end: u64, floor: u64) -> Verdict {
        self.counts.add("views", 1);
        if end < floor {
            return Err(format!(
                "{topic} had reached {floor} before it was asked for, and the answer is {end}"
            ));
        }
        let book = self.topics.entry(topic.clone()).or_default();
        book.end = book.end.max(end);
        Ok(())
    }

    /// The same for a shard.
    pub fn shard_reaches(&mut self, shard: ShardId, end: u64, floor: u64) -> Verdict {
        self.counts.add("views", 1);
        if end < floor {
            return Err(format!(
                "shard {shard} had reached {floor} before it was asked for, and the answer is {end}"
            ));
        }
        let known = self.shard_ends.entry(shard).or_default();
        *known = (*known).max(end);
        Ok(())
    }

    /// Checks what one replica holds of a topic in the end: all from `first` on, nothing beside.
    pub fn holds(&self, topic: &TopicName, first: u64, slices: &[Slice]) -> Verdict {
        let Some(book) = self.topics.get(topic) else {
            return Ok(());
        };
        let next = slices.last().map_or(first, Slice::end_offset);
        if next < book.end {
            return Err(format!(
                "{topic} ends at {next}, and it had reached {}",
                book.end
            ));
        }
        let acked = book.fates.iter().filter_map(|(message, fate)| match fate {
            Fate::At {
                offset,
                acked: true,
            } => Some((*message, *offset)),
            _ => None,
        });
        for (message, offset) in acked.filter(|(_, offset)| *offset >= first) {
            if book.records.get(&offset) != Some(&message) {
                return Err(format!(
                    "{message} was acknowledged at {topic}@{offset} and is gone"
                ));
            }
        }
        Ok(())
    }
}

impl Book {
    /// A message stands at one offset and an offset holds one message, whoever looks and whenever.
    fn stands_at(
        &mut self,
        topic: &TopicName,
        id: TopicId,
        offset: u64,
        message: MessageId,
    ) -> Verdict {
        if *self.id.get_or_insert(id) != id {
            return Err(format!("{topic} has two numbers, {:?} and {id}", self.id));
        }
        let known = *self.records.entry(offset).or_insert(message);
        if known != message {
            return Err(format!("{topic}@{offset} is {known} and {message}"));
        }
        match self.fates.get(&message) {
            Some(Fate::At { offset: known, .. }) if *known != offset => Err(format!(
                "{message} stands at {topic}@{known} and at {offset}"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
