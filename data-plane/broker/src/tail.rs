//! The newest records of a shard, in memory, for readers that are near the end of it.
//!
//! A reader opens a *channel*: one topic, or one project when it follows filters. From then on
//! the segments of that channel are kept, up to a bound in bytes over the whole shard; what nobody
//! reads is not kept at all. A reader holds a position and nothing else. If the ring has moved past
//! it, [`TailReader::next`] says so and the reader goes to storage, which tells it through which
//! position it has read; with that it comes back. So a slow reader costs what any reader costs.
//!
//! ```text
//! apply ─ push(segments) ─▶ channel topic a   [▪▪▪▪] ◀─ read(position) ─ reader, reader, reader
//!                           channel project p [▪▪▪▪▪▪] ◀─ read(position) ─ reader
//! ```

use std::{collections::VecDeque, sync::Arc};

use highwater_proto::{ids::ProjectId, limits::TAIL_BYTES_MAX};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::segment::{Segment, TopicKey};

/// What a reader follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// One topic, whether it exists yet or not.
    Topic(TopicKey),
    /// All topics of a project that are in this shard.
    Project(ProjectId),
}

/// The end of one shard, as this node has applied it.
#[derive(Debug)]
pub struct Tail {
    ring: Mutex<Ring>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Ring {
    /// Position after the last record that was applied.
    next_position: u64,
    live: FxHashMap<Channel, LiveChannel>,
    /// Every kept segment in the order it came, oldest first: the order of eviction.
    kept: VecDeque<(Channel, usize)>,
    kept_bytes: usize,
}

#[derive(Debug)]
struct LiveChannel {
    readers: usize,
    /// The channel holds every record from this position on.
    complete_from: u64,
    segments: VecDeque<Arc<Segment>>,
    changed: Arc<Notify>,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail::new(TAIL_BYTES_MAX)
    }
}

impl Tail {
    /// A tail whose records take at most this many bytes of memory.
    pub fn new(bytes_max: usize) -> Tail {
        Tail {
            ring: Mutex::default(),
            bytes_max,
        }
    }

    /// Position after the last record that was pushed.
    pub fn next_position(&self) -> u64 {
        self.ring.lock().next_position
    }

    /// Takes up the segments of one applied proposal, and `next_position`, where the next one starts.
    ///
    /// The records must be readable from storage already.
    pub fn push(&self, segments: &[Arc<Segment>], next_position: u64) {
        let Some(followed) = self.ring.lock().advance(segments, next_position) else {
            return;
        };
        // Nobody waits for the ring while this copies. A channel that opens meanwhile follows from where
        // the ring stood before, and keeps what was not copied.
        let detach = |(segment, followed): (&Arc<Segment>, bool)| match followed {
            true => Arc::new(segment.detached()),
            false => segment.clone(),
        };
        let detached: Vec<_> = segments.iter().zip(followed).map(detach).collect();
        let mut ring = self.ring.lock();
        ring.next_position = next_position;
        for segment in &detached {
            for channel in channels(segment) {
                ring.keep(channel, segment);
            }
        }
        ring.evict(self.bytes_max);
    }

    /// Starts over at a position, when the shard's state was replaced by a snapshot. Every reader
    /// finds itself lagging and goes to storage.
    pub fn reset(&self, next_position: u64) {
        let mut ring = self.ring.lock();
        ring.next_position = next_position;
        ring.kept.clear();
        ring.kept_bytes = 0;
        for channel in ring.live.values_mut() {
            channel.segments.clear();
            channel.complete_from = next_position;
            channel.changed.notify_waiters();
        }
    }

    /// Opens a channel: everything applied from now on can be read through it.
    pub fn open(self: &Arc<Tail>, channel: Channel) -> TailReader {
        let mut ring = self.ring.lock();
        let next_position = ring.next_position;
        let live = ring.live.entry(channel).or_insert_with(|| LiveChannel {
            readers: 0,
            complete_from: next_position,
            segments: VecDeque::new(),
            changed: Arc::default(),
        });
        live.readers += 1;
        let changed = live.changed.clone();
        drop(ring);
        TailReader {
            tail: self.clone(),
            channel,
            changed,
        }
    }

    /// Number of channels with readers, and the bytes of memory kept for them.
    pub fn usage(&self) -> (usize, usize) {
        let ring = self.ring.lock();
        (ring.live.len(), ring.kept_bytes)
    }
}

/// The channels that a segment belongs to.
fn channels(segment: &Segment) -> [Channel; 2] {
    let topic = &segment.topic;
    [Channel::Topic(topic.key()), Channel::Project(topic.project)]
}

impl Ring {
    /// Which of the segments somebody follows. When nobody follows anything, that is all there is to do.
    fn advance(&mut self, segments: &[Arc<Segment>], next_position: u64) -> Option<Vec<bool>> {
        assert!(
            next_position >= self.next_position,
            "positions only grow: {next_position} after {}",
            self.next_position
        );
        if self.live.is_empty() {
            self.next_position = next_position;
            return None;
        }
        let is_live = |channel: &Channel| self.live.contains_key(channel);
        let followed = |segment: &Arc<Segment>| channels(segment).iter().any(is_live);
        Some(segments.iter().map(followed).collect())
    }

    fn keep(&mut self, channel: Channel, segment: &Arc<Segment>) {
        let Some(live) = self.live.get_mut(&channel) else {
            return;
        };
        let bytes = segment.memory_bytes();
        live.segments.push_back(segment.clone());
        live.changed.notify_waiters();
        self.kept.push_back((channel, bytes));
        self.kept_bytes += bytes;
    }

    fn evict(&mut self, bytes_max: usize) {
        while self.kept_bytes > bytes_max {
            let Some((channel, bytes)) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= bytes;
            // A channel that was closed, and perhaps opened again, has none of the older segments.
            if let Some(live) = self.live.get_mut(&channel)
                && let Some(oldest) = live.segments.pop_front()
            {
                live.complete_from = live.complete_from.max(oldest.end_position());
            }
        }
    }

    fn close(&mut self, channel: Channel) {
        let live = self
            .live
            .get_mut(&channel)
            .expect("an open channel is live");
        live.readers -= 1;
        if live.readers == 0 {
            self.live.remove(&channel);
            let kept_bytes = &mut self.kept_bytes;
            self.kept.retain(|(other, bytes)| {
                let stays = *other != channel;
                if !stays {
                    *kept_bytes -= bytes;
                }
                stays
            });
        }
    }
}

/// What a channel has for a reader at some position.
#[derive(Debug)]
pub enum TailRead {
    /// The records at and after the position, and the position through which this is all there is.
    Records(Vec<Arc<Segment>>, u64),
    /// Nothing new: the reader is at the end, which is this position.
    End(u64),
    /// The channel no longer has that position; storage does.
    Lagging,
}

/// One reader's hold on a channel.
#[derive(Debug)]
pub struct TailReader {
    tail: Arc<Tail>,
    channel: Channel,
    changed: Arc<Notify>,
}

impl TailReader {
    /// Resolves once the channel changes after this call. Take it before [`TailReader::read`], and
    /// await it after that found nothing.
    pub fn changed(&self) -> OwnedNotified {
        self.changed.clone().notified_owned()
    }

    /// The segments that have records at or after a position, at most `bytes_max` of them (but one).
    pub fn read(&self, position: u64, bytes_max: usize) -> TailRead {
        let ring = self.tail.ring.lock();
        let live = ring
            .live
            .get(&self.channel)
            .expect("an open channel is live");
        if position < live.complete_from {
            return TailRead::Lagging;
        }
        let first = live
            .segments
            .partition_point(|s| s.end_position() <= position);
        if first == live.segments.len() {
            return TailRead::End(ring.next_position.max(position));
        }
        let mut bytes = 0;
        let mut segments = Vec::new();
        for segment in live.segments.range(first..) {
            bytes += segment.bytes();
            if bytes > bytes_max && !segments.is_empty() {
                let through = segment.base_position;
                return TailRead::Records(segments, through);
            }
            segments.push(segment.clone());
        }
        TailRead::Records(segments, ring.next_position)
    }
}

impl Drop for TailReader {
    fn drop(&mut self) {
        self.tail.ring.lock().close(self.channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{CursorKind, Encoding, SharedWire, TopicIdentity, Wire};
    use bytes::Bytes;
    use highwater_proto::{ids::TopicId, names::TopicName};

    const PROJECT: ProjectId = ProjectId::from_bytes([1; 16]);

    fn topic(name: &str) -> Arc<TopicIdentity> {
        let name = TopicName::try_from(name).unwrap();
        Arc::new(TopicIdentity::new(PROJECT, name, TopicId(1)))
    }

    fn segment(topic: &Arc<TopicIdentity>, position: u64, count: usize) -> Arc<Segment> {
        let messages = vec![Bytes::from_static(&[0; 100]); count];
        Arc::new(Segment::new(
            topic.clone(),
            position,
            position,
            0,
            0,
            messages,
        ))
    }

    #[test]
    fn a_reader_sees_what_is_pushed_after_it_opened() {
        let (tail, a, b) = (Arc::new(Tail::new(10_000)), topic("a"), topic("b"));
        tail.push(&[segment(&a, 0, 2)], 2);
        let reader = tail.open(Channel::Topic(a.key()));
        assert!(matches!(reader.read(0, 1_000), TailRead::Lagging));
        assert!(matches!(reader.read(2, 1_000), TailRead::End(2)));
        tail.push(&[segment(&b, 2, 1), segment(&a, 3, 2)], 5);
        let TailRead::Records(segments, through) = reader.read(2, 1_000) else {
            panic!("records were pushed");
        };
        assert_eq!(
            (segments.len(), segments[0].base_position, through),
            (1, 3, 5)
        );
        assert!(matches!(reader.read(5, 1_000), TailRead::End(5)));
    }

    #[test]
    fn a_page_stops_before_the_segment_that_is_too_much() {
        let (tail, a) = (Arc::new(Tail::new(10_000)), topic("a"));
        let reader = tail.open(Channel::Project(PROJECT));
        tail.push(&[segment(&a, 0, 2), segment(&a, 2, 2)], 4);
        let TailRead::Records(segments, through) = reader.read(0, 250) else {
            panic!("records were pushed");
        };
        assert_eq!((segments.len(), through), (1, 2));
    }

    #[test]
    fn what_does_not_fit_is_evicted_and_its_readers_lag() {
        let a = topic("a");
        let bytes = segment(&a, 0, 1).memory_bytes();
        let tail = Arc::new(Tail::new(2 * bytes + bytes / 2));
        let reader = tail.open(Channel::Topic(a.key()));
        for position in 0..5 {
            tail.push(&[segment(&a, position, 1)], position + 1);
        }
        assert!(matches!(reader.read(2, 1_000), TailRead::Lagging));
        assert!(matches!(reader.read(3, 1_000), TailRead::Records(s, 5) if s.len() == 2));
        assert_eq!(tail.usage(), (1, 2 * bytes));
        drop(reader);
        assert_eq!(tail.usage(), (0, 0));
    }

    #[test]
    fn a_kept_record_does_not_keep_the_proposal_it_came_in() {
        let (tail, a, b) = (Arc::new(Tail::new(10_000)), topic("a"), topic("b"));
        let reader = tail.open(Channel::Topic(a.key()));
        let proposal = Bytes::from(vec![7; 1 << 20]);
        let piece = |topic: &Arc<TopicIdentity>, position, piece| {
            let pieces = vec![proposal.slice(piece)];
            Arc::new(Segment::new(topic.clone(), 0, position, 0, 0, pieces))
        };
        tail.push(&[piece(&a, 0, 0..10), piece(&b, 1, 10..1 << 20)], 2);
        assert!(proposal.is_unique());
        assert!(
            matches!(reader.read(0, 1), TailRead::Records(s, 2) if s[0].messages[0][..] == [7; 10])
        );
    }

    /// What a segment takes at least, when readers of every kind have had it encoded.
    fn used(segment: &Segment) -> usize {
        let encode = |added: usize| {
            let (mut bytes, mut ends) = (0, Vec::new());
            for message in &segment.messages {
                bytes += message.len() + segment.topic.name.as_str().len() + added;
                ends.push(bytes);
            }
            Wire::new(vec![0; bytes].into(), ends)
        };
        let count = segment.messages.len();
        let mut used = size_of::<Segment>()
            + segment.bytes()
            + count * (size_of::<Bytes>() + size_of::<u64>());
        // As much as the front doors make room for.
        for (encoding, added) in [
            (Encoding::Proto, 120),
            (Encoding::Json, 280),
            (Encoding::Sse, 280),
            (Encoding::SseRaw, 280),
        ] {
            for cursors in [CursorKind::Topic, CursorKind::Shard] {
                if let SharedWire::Kept(wire) = segment.wire(encoding, cursors, || encode(added)) {
                    used += wire.range(0, count).len() + count * size_of::<usize>();
                }
            }
        }
        used
    }

    #[test]
    fn tiny_messages_do_not_take_more_than_the_bound_either() {
        const BYTES_MAX: usize = 1 << 20;
        let a = topic(&"a".repeat(1_000));
        for (payload, count) in [(0, 1), (1, 1), (1, 100), (0, 1_000), (2_000, 7)] {
            let tail = Arc::new(Tail::new(BYTES_MAX));
            let reader = tail.open(Channel::Topic(a.key()));
            for number in 0..1_000 {
                let messages = vec![vec![0; payload].into(); count as usize];
                let start = number * count;
                let segment = Segment::new(a.clone(), start, start, 0, 0, messages);
                tail.push(&[Arc::new(segment)], start + count);
            }
            let oldest = tail.ring.lock().live[&reader.channel].complete_from;
            let kept = match reader.read(oldest, usize::MAX) {
                TailRead::Records(segments, _) => segments,
                _ => Vec::new(),
            };
            let used: usize = kept.iter().map(|s| used(s)).sum();
            assert!(
                used <= BYTES_MAX,
                "{used} bytes for {} segments",
                kept.len()
            );
            assert!(tail.usage().1 <= BYTES_MAX);
            if count < 1_000 {
                assert!(used > BYTES_MAX / 4, "the room is used: {used}");
            }
        }
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let (tail, a) = (Arc::new(Tail::default()), topic("a"));
        let reader = tail.open(Channel::Topic(a.key()));
        let changed = reader.changed();
        tail.push(&[segment(&a, 0, 1)], 1);
        changed.await;
        assert!(matches!(reader.read(0, 1), TailRead::Records(..)));
    }
}
