//! A consumer: one member of a group that shares the records of a filter (see [`highwater_broker::group`]).
//!
//! It follows the events of its group as any subscriber follows a topic, claims what comes next when it has room
//! for it and it is its turn, and reads what it was given from this node's replica. A record is its
//! until it is acknowledged; when the consumer leaves, or its node is lost, the others get what was not.

mod events;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, pending, select_all},
};
use highwater_broker::{
    Refusal, Result,
    catalogue::Project,
    cursor::{Cursor, FeedPosition},
    from::From,
    group::{self, Group, Span},
    handle::{FeedPage, GapReason, PageLimits, ReadRequest, ShardHandle},
    segment::Slice,
    subscription::{CursorScope, Delivery, Gap, Subscription},
    tail::{Channel, TailReader},
};
use highwater_proto::{
    ErrorCode,
    cluster::{
        GroupEvent,
        group_event::{Ack, Claim, Event, Frontier, Join, Range},
    },
    ids::{MemberId, ShardId},
    limits::{
        GROUP_CLAIM_BYTES_MAX, GROUP_CLAIM_RECORDS_MAX, GROUP_NAME_BYTES_MAX,
        GROUP_SNAPSHOT_EVENTS, PAGE_BYTES_MAX, PAGE_RECORDS_MAX,
    },
    names::{TopicFilter, TopicName},
};
use tokio::time::{Instant, sleep_until};

use self::events::{Left, append, leave};
use crate::{
    gateway::{Clock, Door},
    nodes::LOOK,
};

pub use self::events::Leavers;

/// How much longer each member waits than the one before it, before it takes what nobody else takes.
const TURN: Duration = Duration::from_millis(8);
/// How long acknowledgements wait for others to go with them.
const ACK_DELAY: Duration = Duration::from_millis(20);

const EVENTS: PageLimits = PageLimits {
    records: PAGE_RECORDS_MAX,
    bytes: PAGE_BYTES_MAX,
};

/// A member of a group.
pub struct Consumer {
    door: Arc<Door>,
    project: Arc<Project>,
    filters: Arc<[TopicFilter]>,
    /// Where the group's events are.
    topic: TopicName,
    shard: ShardHandle,
    member: MemberId,
    events: Subscription,
    group: Group,
    /// The offset of the next event.
    next_offset: u64,
    /// Tell when there may be something to claim.
    tails: Vec<TailReader>,
    /// What this member was given and has not read.
    granted: VecDeque<Granted>,
    /// What it has delivered and has not been told of: in each shard by position, with where the span that is
    /// acknowledged together with it begins.
    unacknowledged: BTreeMap<(ShardId, u64), u64>,
    done: Vec<Range>,
    returned: Vec<Range>,
    /// Since when there is something to write.
    acked_at: Option<Instant>,
    /// A claim was written, and has not come back.
    is_claiming: bool,
    /// Since when there was something to claim, and for whoever takes it what nobody had taken then.
    open_since: Option<(Instant, u64)>,
    writing: Option<BoxFuture<'static, Result<()>>>,
    next_look: Instant,
}

/// A span that this member has to read.
struct Granted {
    shard: ShardId,
    /// The next position to read.
    position: u64,
    /// Where what goes with the next record begins.
    covered: u64,
    end: u64,
}

/// What there is to do next.
enum Step {
    Deliver(Delivery),
    Again,
    Wait(Option<Instant>),
}

impl Consumer {
    /// Joins a group, which begins at `from` if it is a new one. When this returns, every record from there on
    /// is delivered to one of its members.
    ///
    /// # Errors
    /// `invalid_request` for a name that is none, `quota_exceeded` when the group is full, and those of a
    /// subscription.
    pub async fn join(
        door: Arc<Door>,
        project: Arc<Project>,
        (name, filter): (&str, TopicFilter),
        from: From,
    ) -> Result<Consumer> {
        if name.is_empty()
            || name.len() > GROUP_NAME_BYTES_MAX
            || name.contains(['/', '+', '#', '\0'])
        {
            let message = "a group has a name of at most 256 bytes without `/`, `+`, `#` and NUL";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        let broker = door.broker.clone();
        let topic = group::topic(project.id, name, &filter);
        let system = broker.system().clone();
        let shard = broker.shard_of(&system, &topic).clone();
        let own = vec![TopicFilter::from(&topic)];
        let events = Subscription::open(broker.clone(), system, own, From::Earliest).await?;
        let tail = |id: &ShardId| -> Result<TailReader> {
            Ok(broker.shard(*id)?.tail().open(Channel::Project(project.id)))
        };
        let mut consumer = Consumer {
            tails: project.shards.iter().map(tail).collect::<Result<_>>()?,
            filters: [filter].into(),
            door,
            topic,
            shard,
            member: MemberId::generate(),
            events,
            group: Group::default(),
            next_offset: 0,
            granted: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            done: Vec::new(),
            returned: Vec::new(),
            acked_at: None,
            is_claiming: false,
            open_since: None,
            writing: None,
            next_look: Instant::now() + LOOK,
            project,
        };
        consumer.read_history().await?;
        let frontiers = match consumer.group.is_open() {
            true => Vec::new(),
            false => consumer.frontiers(from).await?,
        };
        let home = consumer.door.home();
        let join = Event::Join(Join {
            member: Some(group::wire_member(consumer.member, home)),
            frontiers,
        });
        let joined_at = consumer.append(join).await?;
        while consumer.next_offset <= joined_at {
            consumer.read_events(true).await?;
        }
        match consumer.group.has(consumer.member) {
            true => Ok(consumer),
            false => Err(Refusal::new(
                ErrorCode::QuotaExceeded,
                "the group has as many members as it can",
            )),
        }
    }

    /// Reads what the group is, from the oldest event that is kept.
    async fn read_history(&mut self) -> Result<()> {
        let mut early: Vec<(u64, GroupEvent)> = Vec::new();
        let mut is_known = false;
        let clock = self.door.clock.clone();
        while let Some(delivery) = self.events.try_next(EVENTS, &*clock).await? {
            for (offset, event) in events::of(&delivery) {
                self.next_offset = offset + 1;
                if is_known || offset == 0 {
                    is_known = true;
                    self.group.apply(event);
                } else if let Some(Event::Snapshot(snapshot)) = &event.event {
                    is_known = true;
                    self.group = Group::restore(snapshot);
                    let since = early
                        .drain(..)
                        .filter(|(offset, _)| *offset >= snapshot.next_offset);
                    for (_, event) in since {
                        self.group.apply(event);
                    }
                } else {
                    early.push((offset, event));
                }
            }
        }
        // Events without what came before them: the group begins with them.
        for (_, event) in early {
            self.group.apply(event);
        }
        Ok(())
    }

    /// Where a group that begins now begins, in each shard.
    fn frontiers(&self, from: From) -> impl Future<Output = Result<Vec<Frontier>>> + Send + use<> {
        let from = match from {
            // What is retained is for every subscriber, and shared by none.
            From::Retained => From::Latest,
            from => from,
        };
        let (broker, project) = (self.door.broker.clone(), self.project.clone());
        let filters = self.filters.clone();
        async move {
            let feed = Subscription::open_feed(broker, project, filters, from).await?;
            let Cursor::Feed(positions) = feed.position() else {
                let message = "the cursor belongs to another set of filters";
                return Err(Refusal::new(ErrorCode::CursorForeign, message));
            };
            let frontier = |p: &FeedPosition| Frontier {
                shard: p.shard.0,
                position: p.next_position,
            };
            Ok(positions.iter().map(frontier).collect())
        }
    }

    /// The cursor of what nobody has taken.
    pub fn cursor(&self) -> String {
        self.door
            .broker
            .cursors()
            .seal(self.project.id, &self.position())
    }

    /// The same, open.
    pub fn position(&self) -> Cursor {
        let ends = self.group.open_ends();
        let positions = ends.map(|(shard, next_position, _)| FeedPosition {
            shard,
            next_position,
            retained_until: None,
        });
        Cursor::Feed(positions.collect())
    }

    /// Waits for the next records that are this member's, as many as it may have; for none while it may
    /// have none. Nothing is lost when it is dropped before it resolves.
    pub async fn next(&mut self, limits: Option<PageLimits>) -> Result<Delivery> {
        loop {
            // First: what comes while this looks is told.
            let changed: Vec<_> = self
                .tails
                .iter()
                .map(|tail| Box::pin(tail.changed()))
                .collect();
            self.read_events(false).await?;
            let until = match self.step(limits).await? {
                Step::Deliver(delivery) => return Ok(delivery),
                Step::Again => continue,
                Step::Wait(until) => until,
            };
            let clock: Clock = self.door.clock.clone();
            let until = until.map_or(self.next_look, |until| until.min(self.next_look));
            tokio::select! {
                delivery = self.events.next(EVENTS, &*clock) => {
                    let delivery = delivery?;
                    self.take_events(&delivery);
                }
                written = poll(&mut self.writing) => {
                    self.writing = None;
                    written?;
                }
                _ = select_all(changed), if limits.is_some() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Looks for what there is to do.
    async fn step(&mut self, limits: Option<PageLimits>) -> Result<Step> {
        let limits = limits.and_then(|limits| self.room(limits));
        if let Some(limits) = limits
            && !self.granted.is_empty()
        {
            return self.read_granted(limits).await;
        }
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look_for_lost_members();
        }
        let mut until = None;
        if self.writing.is_none() {
            let ack_at = self.acked_at.map(|at| at + ACK_DELAY);
            if ack_at.is_some_and(|at| at <= now) {
                let ack = self.take_acks();
                self.write(ack);
            } else {
                until = ack_at;
            }
        }
        if let Some(limits) = limits
            && self.writing.is_none()
            && !self.is_claiming
            && let Some(at) = self.look_for_records(limits, now).await?
        {
            until = Some(until.map_or(at, |until: Instant| until.min(at)));
        }
        Ok(match self.granted.is_empty() || limits.is_none() {
            true => Step::Wait(until),
            false => Step::Again,
        })
    }

    /// How much of it may be taken beside what is not acknowledged.
    fn room(&self, limits: PageLimits) -> Option<PageLimits> {
        let room = GROUP_CLAIM_RECORDS_MAX.saturating_sub(self.unacknowledged.len());
        let records = limits.records.min(room);
        (records > 0).then_some(PageLimits {
            records,
            bytes: limits.bytes.min(GROUP_CLAIM_BYTES_MAX),
        })
    }

    /// Claims what there is to claim, if it is this member's turn. Returns when it may be.
    async fn look_for_records(
        &mut self,
        limits: PageLimits,
        now: Instant,
    ) -> Result<Option<Instant>> {
        let ends: Vec<_> = self.group.open_ends().collect();
        let (mut found, mut ends_sum) = (None, 0u64);
        for (shard, frontier, has_returned) in ends {
            ends_sum = ends_sum.wrapping_add(frontier);
            if has_returned {
                // Whoever is first takes it: it has waited for long enough.
                self.claim(shard, 0);
                return Ok(None);
            }
            if found.is_none() {
                let page = self.read(shard, frontier, limits).await?;
                let share = self.share(&page, limits);
                found = share.map(|end| (shard, end));
            }
        }
        let Some((shard, end)) = found else {
            self.open_since = None;
            return Ok(None);
        };
        let since = match self.open_since {
            Some((since, ends)) if ends == ends_sum => since,
            _ => now,
        };
        self.open_since = Some((since, ends_sum));
        let turn_at =
            since + TURN * u32::try_from(self.group.rank(self.member)).unwrap_or(u32::MAX);
        if turn_at > now {
            return Ok(Some(turn_at));
        }
        self.open_since = None;
        self.claim(shard, end);
        Ok(None)
    }

    /// Where this member's share of what was found ends: an equal part for each of the members, so that few
    /// records are not all one's, and what could not be delivered anyhow.
    fn share(&self, page: &FeedPage, limits: PageLimits) -> Option<u64> {
        let found: usize = page.slices.iter().map(Slice::count).sum();
        let members = self.group.members().count().max(1);
        let mut left = found.div_ceil(members).min(limits.records);
        if found == 0 {
            // All that is gone is told to whoever takes it.
            return (page.gap.is_some() || !page.topic_gaps.is_empty())
                .then_some(page.next_position);
        }
        for slice in &page.slices {
            if left <= slice.count() {
                return Some(slice.segment.base_position + (slice.start + left) as u64);
            }
            left -= slice.count();
        }
        page.slices.last().map(Slice::end_position)
    }

    fn claim(&mut self, shard: ShardId, end_position: u64) {
        self.is_claiming = true;
        let claim = Event::Claim(Claim {
            member: group::bytes(self.member),
            shard: shard.0,
            end_position,
        });
        // What was acknowledged goes along.
        let acks = self.take_acks();
        self.write(acks.into_iter().chain([claim]));
    }

    /// Reads what this member was given.
    async fn read_granted(&mut self, limits: PageLimits) -> Result<Step> {
        let Some(granted) = self.granted.front() else {
            return Ok(Step::Again);
        };
        let (shard, position, end) = (granted.shard, granted.position, granted.end);
        let page = self.read(shard, position, limits).await?;
        if page.next_position <= position && page.at_end {
            // Somebody's replica is ahead of this one.
            return Ok(Step::Wait(Some(Instant::now() + TURN)));
        }
        let gaps = self.gaps(shard, &page);
        let mut slices = page.slices;
        for slice in &mut slices {
            let beyond = slice.end_position().saturating_sub(end) as usize;
            slice.end -= beyond.min(slice.count());
        }
        let now_ms = (self.door.clock)();
        let slices: Vec<Slice> = slices
            .into_iter()
            .filter(|slice| slice.count() > 0)
            .flat_map(|slice| slice.unexpired(now_ms))
            .collect();
        let next_position = page.next_position.min(end);
        self.deliver_from(&slices, next_position);
        match slices.is_empty() && gaps.is_empty() {
            true => Ok(Step::Again),
            false => Ok(Step::Deliver(Delivery {
                gaps,
                slices,
                cursors: CursorScope::Shard,
                is_retained: false,
            })),
        }
    }

    /// Notes what is delivered of the first span, and what of it is done with because there is nothing.
    fn deliver_from(&mut self, slices: &[Slice], next_position: u64) {
        let Some(granted) = self.granted.front_mut() else {
            return;
        };
        for slice in slices {
            for index in slice.start..slice.end {
                let position = slice.segment.base_position + index as u64;
                self.unacknowledged
                    .insert((granted.shard, position), granted.covered);
                granted.covered = position + 1;
            }
        }
        granted.position = next_position;
        if granted.position < granted.end {
            return;
        }
        let (shard, start, end) = (granted.shard, granted.covered, granted.end);
        self.granted.pop_front();
        if start < end {
            self.finish(shard, Span { start, end }, false);
        }
    }

    fn read(
        &self,
        shard: ShardId,
        position: u64,
        limits: PageLimits,
    ) -> impl Future<Output = Result<FeedPage>> + Send + use<> {
        let (project, filters) = (self.project.id, self.filters.clone());
        let shard = self.door.broker.shard(shard).cloned();
        async move {
            let read = |reply| ReadRequest::ReadFeed {
                project,
                filters,
                position,
                limits,
                reply,
            };
            shard?.read(read).await
        }
    }

    fn gaps(&self, shard: ShardId, page: &FeedPage) -> Vec<Gap> {
        let seal = |next_position| {
            let place = FeedPosition {
                shard,
                next_position,
                retained_until: None,
            };
            self.door
                .broker
                .cursors()
                .seal_feed(self.project.id, &[place])
        };
        let all = page
            .gap
            .iter()
            .map(|(requested, first)| (None, (*requested, *first), GapReason::Retention));
        let topics = page
            .topic_gaps
            .iter()
            .map(|gap| (Some(gap.topic.clone()), gap.positions, gap.reason));
        let gap = |(topic, (requested, first_available), reason)| Gap {
            topic,
            requested: seal(requested),
            first_available: seal(first_available),
            reason,
        };
        all.chain(topics).map(gap).collect()
    }

    /// This member is done with a record, or gives it back for another.
    pub fn ack(&mut self, shard: ShardId, position: u64, is_returned: bool) {
        if let Some(start) = self.unacknowledged.remove(&(shard, position)) {
            let span = Span {
                start,
                end: position + 1,
            };
            self.finish(shard, span, is_returned);
        }
    }

    /// The same for a record that is named by its cursor.
    ///
    /// # Errors
    /// `cursor_invalid` or `cursor_foreign` when it is none of a record of this project.
    pub fn ack_cursor(&mut self, cursor: &str, is_returned: bool) -> Result<()> {
        let foreign = || {
            Refusal::new(
                ErrorCode::CursorForeign,
                "the cursor is of no record of this subscription",
            )
        };
        let Cursor::Feed(positions) = self.door.broker.cursors().open(self.project.id, cursor)?
        else {
            return Err(foreign());
        };
        let [place] = positions.as_slice() else {
            return Err(foreign());
        };
        self.ack(
            place.shard,
            place.next_position.saturating_sub(1),
            is_returned,
        );
        Ok(())
    }

    fn finish(&mut self, shard: ShardId, span: Span, is_returned: bool) {
        let ranges = match is_returned {
            true => &mut self.returned,
            false => &mut self.done,
        };
        match ranges.last_mut() {
            Some(last) if last.shard == shard.0 && last.end_position == span.start => {
                last.end_position = span.end
            }
            _ => ranges.push(Range {
                shard: shard.0,
                start_position: span.start,
                end_position: span.end,
            }),
        }
        self.acked_at.get_or_insert_with(Instant::now);
    }

    fn take_acks(&mut self) -> Option<Event> {
        self.acked_at = None;
        let (done, returned) = (
            std::mem::take(&mut self.done),
            std::mem::take(&mut self.returned),
        );
        (!done.is_empty() || !returned.is_empty()).then(|| {
            Event::Ack(Ack {
                member: group::bytes(self.member),
                done,
                returned,
            })
        })
    }

    // ---- the group's events ----

    /// Takes the events that are there; with `wait`, at least one.
    async fn read_events(&mut self, wait: bool) -> Result<()> {
        let clock: Clock = self.door.clock.clone();
        if wait {
            let delivery = self.events.next(EVENTS, &*clock).await?;
            self.take_events(&delivery);
        }
        while let Some(delivery) = self.events.try_next(EVENTS, &*clock).await? {
            self.take_events(&delivery);
        }
        Ok(())
    }

    fn take_events(&mut self, delivery: &Delivery) {
        for (offset, event) in events::of(delivery) {
            self.next_offset = offset + 1;
            let is_claim = matches!(&event.event, Some(Event::Claim(claim)) if claim.member[..] == self.member.as_bytes()[..]);
            let granted = self.group.apply(event);
            if is_claim {
                self.is_claiming = false;
            }
            if let Some((member, shard, span)) = granted
                && member == self.member
            {
                self.granted.push_back(Granted {
                    shard,
                    position: span.start,
                    covered: span.start,
                    end: span.end,
                });
            }
            let is_time = self.next_offset.is_multiple_of(GROUP_SNAPSHOT_EVENTS);
            if is_time && self.writing.is_none() && self.group.rank(self.member) == 0 {
                let snapshot = Event::Snapshot(self.group.snapshot(self.next_offset));
                self.write([snapshot]);
            }
        }
    }

    /// Members whose nodes are lost leave by the word of the others.
    fn look_for_lost_members(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let lost = self
            .group
            .members()
            .filter(|(_, home)| self.door.nodes.has_lost(*home));
        let leaves: Vec<Event> = lost.map(|(member, _)| leave(member)).collect();
        if !leaves.is_empty() {
            self.write(leaves);
        }
    }

    /// Writes events, in order and soon. What they do is known when they come back.
    fn write(&mut self, events: impl IntoIterator<Item = Event>) {
        let (shard, topic) = (self.shard.clone(), self.topic.clone());
        let broker = self.door.broker.clone();
        let events: Vec<Event> = events.into_iter().collect();
        if !events.is_empty() {
            self.writing = Some(
                append(broker, shard, topic, events)
                    .map(|offset| offset.map(drop))
                    .boxed(),
            );
        }
    }

    /// Writes one event, and says at which offset.
    fn append(&self, event: Event) -> impl Future<Output = Result<u64>> + Send + use<> {
        append(
            self.door.broker.clone(),
            self.shard.clone(),
            self.topic.clone(),
            vec![event],
        )
    }
}

/// What is not acknowledged is for the others: at once, if this node can say so, and when they find out, if
/// not.
impl Drop for Consumer {
    fn drop(&mut self) {
        if !self.group.has(self.member) {
            return;
        }
        let acks = self.take_acks();
        self.door.leavers.push(Left {
            shard: self.shard.clone(),
            topic: self.topic.clone(),
            // After what is on its way: an acknowledgement would come too late.
            writing: self.writing.take(),
            events: acks.into_iter().chain([leave(self.member)]).collect(),
        });
    }
}

async fn poll(writing: &mut Option<BoxFuture<'static, Result<()>>>) -> Result<()> {
    match writing {
        Some(writing) => writing.await,
        None => pending().await,
    }
}
