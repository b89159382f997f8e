//! What one client is subscribed to, and what each subscription has for it.
//!
//! Every subscription is a cursor of its own on the log, so that what a client has seen of it is one string
//! that every other protocol takes. A record that several subscriptions match is sent for each of them, with
//! its own QoS and identifier (section 3.3.4).

use std::{collections::VecDeque, sync::Arc};

use futures_util::future::select_all;
use highwater_broker::{
    Broker, Refusal, Result,
    catalogue::Principal,
    cursor::Cursor,
    from::From,
    handle::PageLimits,
    segment::Slice,
    subscription::{CursorScope, Delivery, Gap, Subscription as Retained},
};
use highwater_mqtt::{
    Qos, SubscriptionId,
    packet::subscribe::{RetainHandling, Subscription as Asked},
};
use highwater_proto::{
    ErrorCode,
    ids::ShardId,
    limits::{MQTT_DELIVERY_BYTES_MAX, MQTT_DELIVERY_RECORDS_MAX, MQTT_GAPS_MAX},
    names::TopicFilter,
};

use super::window::{InFlight, Place, Window};
use crate::{
    deliver,
    gateway::Door,
    metrics::Protocol,
    read,
    reader::{Credit, Reader, Wanted},
};

/// How much is read for a subscription at once.
const LIMITS: PageLimits = PageLimits {
    records: MQTT_DELIVERY_RECORDS_MAX,
    bytes: MQTT_DELIVERY_BYTES_MAX,
};

/// What a client asked of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub qos: Qos,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub id: Option<SubscriptionId>,
}

/// One filter of the client.
pub struct Subscription {
    /// Distinct on the connection.
    pub key: u32,
    /// As the client wrote it.
    pub text: Box<str>,
    pub options: Options,
    pub reader: Reader,
    /// The retained records that are still to be sent.
    pub retained: Option<Box<Retained>>,
    /// They were all sent on an earlier connection: they are read for those that have to be sent again.
    pub retained_were_sent: bool,
    /// Records that were read and not sent, because the client's window was full.
    pub backlog: Backlog,
    /// Everything before this was sent on an earlier connection.
    pub sent_before: Option<Cursor>,
    /// What was lost and has not been told, at most [`MQTT_GAPS_MAX`].
    pub gaps: Vec<Gap>,
}

/// Records that were read and not sent.
#[derive(Default)]
pub struct Backlog {
    pub slices: VecDeque<Slice>,
    pub cursors: CursorScope,
    pub is_retained: bool,
}

/// What became of reading on.
pub enum Next {
    Records(Delivery),
    /// All retained records were read.
    RetainedEnd,
}

/// A filter as a client writes it.
#[derive(Debug, Clone)]
pub struct Written {
    pub filter: TopicFilter,
    /// `$share/<group>/<filter>` (section 4.8.2).
    pub group: Option<Box<str>>,
    /// `$from/<from>/<filter>` says where to begin, for those who cannot say it in another way.
    pub from: Option<From>,
}

impl Written {
    /// Reads a filter.
    ///
    /// # Errors
    /// `invalid_topic` for one that is none here, `invalid_request` for a starting point that is none.
    pub fn parse(text: &str) -> Result<Written> {
        let invalid = |message| Refusal::new(ErrorCode::InvalidTopic, message);
        let (group, rest) = match text.strip_prefix("$share/") {
            None => (None, text),
            Some(rest) => {
                let message = "`$share/` is followed by a group, `/` and a filter";
                let (group, rest) = rest.split_once('/').ok_or_else(|| invalid(message))?;
                (Some(group.into()), rest)
            }
        };
        let (from, pattern) = match rest.strip_prefix("$from/") {
            None => (None, rest),
            Some(rest) => {
                let message = "`$from/` is followed by a starting point, `/` and a filter";
                let (from, pattern) = rest.split_once('/').ok_or_else(|| invalid(message))?;
                (Some(From::parse(from)?), pattern)
            }
        };
        Ok(Written {
            filter: TopicFilter::try_from(pattern)?,
            group,
            from,
        })
    }
}

impl Options {
    /// What a SUBSCRIBE says.
    pub fn of(asked: &Asked, id: Option<SubscriptionId>) -> Options {
        Options {
            qos: asked.qos,
            no_local: asked.no_local,
            retain_as_published: asked.retain_as_published,
            id,
        }
    }
}

/// Whether a subscription begins with the retained records.
pub fn begins_with_retained(handling: RetainHandling, is_new: bool, from: Option<&From>) -> bool {
    match (from, handling) {
        (Some(From::Retained), _) => true,
        // Whoever asks for history gets the retained records as part of it.
        (Some(_), _) => false,
        (None, RetainHandling::Send) => true,
        (None, RetainHandling::SendIfNew) => is_new,
        (None, RetainHandling::DoNotSend) => false,
    }
}

/// Opens the reader of a subscription, from where it says; when this returns it is live.
///
/// # Errors
/// `forbidden`, or those of a subscription.
pub async fn open_reader(
    door: &Arc<Door>,
    principal: &Principal,
    written: &Written,
    from: From,
) -> Result<Reader> {
    let from = match from {
        // They are read on their own.
        From::Retained => From::Latest,
        from => from,
    };
    let wanted = Wanted {
        filters: vec![written.filter.clone()],
        from,
        group: written.group.clone(),
    };
    Reader::open(door, Protocol::Mqtt, principal, wanted, Credit::new(0, 0)).await
}

/// Opens what reads the retained records of a filter.
///
/// # Errors
/// `forbidden`, or those of a subscription.
pub async fn open_retained(
    door: &Door,
    principal: &Principal,
    filter: &TopicFilter,
) -> Result<Box<Retained>> {
    let filters = vec![filter.clone()];
    read::open(door, principal, filters, From::Retained)
        .await
        .map(Box::new)
}

impl Subscription {
    /// How much may be read on, if anything: what was read has to be sent first.
    fn limits(&self, window: &Window) -> Option<PageLimits> {
        if !self.backlog.slices.is_empty() {
            return None;
        }
        let room = match self.options.qos {
            Qos::AtMostOnce => LIMITS.records,
            _ if self.sent_before.is_some() => LIMITS.records,
            // What a member of a group takes and cannot send, another could.
            _ if self.reader.is_shared() => window.room().min(LIMITS.records),
            _ if window.room() > 0 => LIMITS.records,
            _ => 0,
        };
        (room > 0).then_some(PageLimits {
            records: room,
            ..LIMITS
        })
    }

    async fn next(&mut self, door: &Door, limits: Option<PageLimits>) -> Result<Next> {
        let (Some(retained), Some(limits)) = (&mut self.retained, limits) else {
            return self
                .reader
                .next_within(door, limits)
                .await
                .map(Next::Records);
        };
        while let Some(delivery) = retained.try_next(limits, &*door.clock).await? {
            if delivery.is_retained {
                deliver::on_delivery(door, Protocol::Mqtt, self.reader.usage(), &delivery);
                return Ok(Next::Records(delivery));
            }
            // Live records of another shard: they come from the reader.
        }
        Ok(Next::RetainedEnd)
    }

    /// The client is done with a record.
    pub fn ack(&mut self, place: Place) {
        self.reader.ack(place.shard, place.at, false);
    }

    /// Whether a retained record still waits to be sent for the first time.
    pub fn owes_retained(&self) -> bool {
        let waits = self.backlog.is_retained && !self.backlog.slices.is_empty();
        !self.retained_were_sent && (waits || self.retained.is_some())
    }

    /// Takes what was read.
    pub fn take(&mut self, next: Next, window: &mut Window) {
        match next {
            Next::RetainedEnd => {
                self.retained = None;
                // Other records are retained in their place.
                window.forget_unsent(self.key, true);
            }
            Next::Records(mut delivery) => {
                self.gaps.append(&mut delivery.gaps);
                bound(&mut self.gaps);
                self.backlog = Backlog {
                    slices: delivery.slices.into(),
                    cursors: delivery.cursors,
                    is_retained: delivery.is_retained,
                };
            }
        }
    }

    /// The place of a record of a slice that was read for this subscription.
    pub fn place(&self, shard: ShardId, scope: &CursorScope, slice: &Slice, index: usize) -> Place {
        let base = match scope {
            CursorScope::Topic | CursorScope::Fixed(_) => slice.segment.base_offset,
            CursorScope::Shard | CursorScope::Shards(_) => slice.segment.base_position,
        };
        Place {
            shard,
            at: base + index as u64,
        }
    }

    /// The cursor of the first record that the client has not acknowledged.
    pub fn floor(&self, window: &Window, shard_of: impl Fn(&Slice) -> ShardId) -> Cursor {
        let mut cursor = self.reader.position();
        let unacknowledged = window
            .iter()
            .filter(|message| message.subscription == self.key && !message.is_retained)
            .map(|message| message.place);
        let backlog = self
            .backlog
            .slices
            .iter()
            .filter(|_| !self.backlog.is_retained);
        let unsent = backlog
            .map(|slice| self.place(shard_of(slice), &self.backlog.cursors, slice, slice.start));
        for place in unacknowledged.chain(unsent) {
            lower(&mut cursor, place);
        }
        cursor
    }

    /// The cursor of the first record that was not sent.
    pub fn sent(&self, shard_of: impl Fn(&Slice) -> ShardId) -> Cursor {
        let mut cursor = self.reader.position();
        for slice in self
            .backlog
            .slices
            .iter()
            .filter(|_| !self.backlog.is_retained)
        {
            let place = self.place(shard_of(slice), &self.backlog.cursors, slice, slice.start);
            lower(&mut cursor, place);
        }
        match &self.sent_before {
            Some(before) => higher(cursor, before),
            None => cursor,
        }
    }

    /// Whether a record was sent on an earlier connection.
    pub fn was_sent_before(&self, place: Place) -> bool {
        self.sent_before
            .as_ref()
            .is_some_and(|sent| is_before(place, sent))
    }

    /// Forgets the earlier connection once everything it had sent was read again. Says whether messages were
    /// given up whose records are gone.
    pub fn catch_up(&mut self, window: &mut Window) -> bool {
        let Some(sent) = &self.sent_before else {
            return false;
        };
        if !self.backlog.slices.is_empty() || !is_at_or_after(&self.reader.position(), sent) {
            return false;
        }
        self.sent_before = None;
        window.forget_unsent(self.key, false)
    }
}

/// Makes one gap of them that has all in it, if they are too many to be told one by one.
fn bound(gaps: &mut Vec<Gap>) {
    if gaps.len() > MQTT_GAPS_MAX
        && let [first, .., last] = gaps.as_mut_slice()
    {
        first.topic = None;
        first.first_available = std::mem::take(&mut last.first_available);
        gaps.truncate(1);
    }
}

/// Messages that wait to be released, in order: what a client is told first when it is back.
pub fn received(window: &Window) -> impl Iterator<Item = &InFlight> {
    window.iter().filter(|message| message.is_received)
}

fn lower(cursor: &mut Cursor, place: Place) {
    match cursor {
        Cursor::Topic(topic) => topic.next_offset = topic.next_offset.min(place.at),
        Cursor::Feed(positions) => {
            for position in positions.iter_mut().filter(|p| p.shard == place.shard) {
                position.next_position = position.next_position.min(place.at);
            }
        }
    }
}

fn higher(cursor: Cursor, other: &Cursor) -> Cursor {
    match is_at_or_after(&cursor, other) {
        true => cursor,
        false => other.clone(),
    }
}

/// Whether a record comes before what a cursor reads next.
pub fn is_before(place: Place, cursor: &Cursor) -> bool {
    match cursor {
        Cursor::Topic(topic) => place.at < topic.next_offset,
        Cursor::Feed(positions) => positions
            .iter()
            .any(|p| p.shard == place.shard && place.at < p.next_position),
    }
}

/// A topic that was made anew begins at 0 again, and is another one: nothing of it was sent before.
fn is_at_or_after(cursor: &Cursor, other: &Cursor) -> bool {
    match (cursor, other) {
        (Cursor::Topic(a), Cursor::Topic(b)) => {
            a.topic != b.topic || a.next_offset >= b.next_offset
        }
        (Cursor::Feed(a), Cursor::Feed(b)) => b.iter().all(|other| {
            let mut ours = a.iter().filter(|p| p.shard == other.shard);
            ours.all(|p| p.next_position >= other.next_position)
        }),
        _ => true,
    }
}

/// What any subscription has next that can be sent, and which one.
pub async fn next(
    subscriptions: &mut [Subscription],
    window: &Window,
    door: &Door,
) -> (usize, Result<Next>) {
    let waiting = subscriptions
        .iter_mut()
        .enumerate()
        .map(|(at, subscription)| (at, subscription.limits(window), subscription))
        // A member of a group has acknowledgements to pass on.
        .filter(|(_, limits, subscription)| limits.is_some() || subscription.reader.is_shared());
    let mut waiting = waiting.fuse();
    let (first, second) = (waiting.next(), waiting.next());
    match (first, second) {
        (None, _) => std::future::pending().await,
        (Some((at, limits, only)), None) => (at, only.next(door, limits).await),
        (Some(first), Some(second)) => {
            let many = [first, second].into_iter().chain(waiting);
            let all = many.map(|(at, limits, subscription)| {
                Box::pin(async move { (at, subscription.next(door, limits).await) })
            });
            select_all(all).await.0
        }
    }
}

/// The stored form of a cursor, as every protocol writes it.
pub fn seal(broker: &Broker, principal: &Principal, cursor: &Cursor) -> String {
    broker.cursors().seal(principal.project.id, cursor)
}
