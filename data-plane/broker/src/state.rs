//! The state of one shard and the one way it changes: [`ShardState::apply`].
//!
//! Applying is a function of the state and the command alone. It reads no clock (time is in the
//! command), draws no random number and does no I/O, so every replica that applies the same log
//! reaches the same state. What is too large for memory, the records and the idempotency keys,
//! leaves it as [`Effects`] for the store to keep; the one thing it must look up there comes in as
//! [`Remembered`].

use std::{
    collections::{BTreeMap, hash_map::Entry},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use highwater_proto::{
    ErrorCode, cluster,
    ids::{ProjectId, TopicId},
    limits::TOPICS_PER_SHARD_MAX,
    names::{TopicFilter, TopicName},
};
use rustc_hash::FxHashMap;

use crate::{
    handle::{Published, Retain, TopicEnd, TopicPolicy, TopicView},
    metering::{self, Ledger, Metered, Traffics},
    refusal::{Refusal, Result},
    segment::{Segment, TopicIdentity},
    system,
};

/// Everything a shard knows, except its records and idempotency keys.
#[derive(Debug, Default)]
pub struct ShardState {
    /// Position the next record of the shard gets.
    next_position: u64,
    /// Number the next topic gets.
    next_topic: u64,
    /// The newest time any command carried, in milliseconds since the Unix epoch.
    time_ms: u64,
    topics: FxHashMap<TopicId, Topic>,
    /// Ordered, for listing and for filters with a literal beginning.
    names: BTreeMap<(ProjectId, TopicName), TopicId>,
    /// The same, for publishing: a name is looked up as it stands in a command.
    by_name: FxHashMap<ProjectId, FxHashMap<TopicName, TopicId>>,
    /// Those of `names` that have a retained record: few, often, of very many.
    retaining: BTreeMap<(ProjectId, TopicName), TopicId>,
    /// Bytes of the messages that each project has.
    bytes: FxHashMap<ProjectId, u64>,
    ledger: Ledger,
}

/// What a shard knows of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its project, name and number.
    pub identity: Arc<TopicIdentity>,
    /// The oldest offset that is retained.
    pub first_offset: u64,
    /// The offset the next record gets.
    pub next_offset: u64,
    /// Bytes of all records the topic ever held before `first_offset`.
    pub first_bytes: u64,
    /// Bytes of all records the topic ever held.
    pub next_bytes: u64,
    /// Position of the newest record in the shard.
    pub last_position: u64,
    /// When the newest record was published, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Whether only the newest record of each key is kept.
    pub last_value: bool,
    /// The record that was last published to be retained, unless that was cleared since. It outlives the
    /// topic's retention: it may lie before `first_offset`.
    pub retained: Option<RetainedRecord>,
}

/// Where a topic's retained record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedRecord {
    /// Its offset in the topic.
    pub offset: u64,
    /// Its position in the shard.
    pub position: u64,
}

impl Topic {
    /// The topic for those who ask about it.
    pub fn view(&self) -> TopicView {
        TopicView {
            name: self.identity.name.clone(),
            id: self.identity.id,
            first_offset: self.first_offset,
            next_offset: self.next_offset,
            bytes: self.next_bytes - self.first_bytes,
        }
    }
}

/// The numbers of a shard that are stored beside its topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Position the next record of the shard gets.
    pub next_position: u64,
    /// Number the next topic gets.
    pub next_topic: u64,
    /// The newest time any command carried, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// What only the store remembers.
pub trait Remembered {
    /// The offset a publish with this idempotency key was given, if it is still known at `now_ms`.
    fn offset_of(&self, topic: TopicId, key: &[u8; 16], now_ms: u64) -> Option<u64>;
}

/// Idempotency keys of the batch that is being applied: not yet in the store.
type Fresh = FxHashMap<(TopicId, [u8; 16]), u64>;

/// Groups of the batch that is being applied of which a publish was refused, and why.
type RefusedGroups = FxHashMap<u32, Refusal>;

/// What applying one command leaves to do and to answer.
#[derive(Debug, Default)]
pub struct Effects {
    /// The answer, in the order of the command's parts.
    pub answer: Answer,
    /// Records that were appended, in order of their positions.
    pub segments: Vec<Arc<Segment>>,
    /// Idempotency keys to remember, each with its topic and offset, as of the batch's time.
    pub remember: Vec<(TopicId, [u8; 16], u64)>,
    /// Compaction keys of appended records in last-value topics. No key is all zeroes.
    pub keyed: Vec<(TopicId, [u8; 16], u64)>,
    /// Topics whose description changed, beside those of `segments`.
    pub touched: Vec<TopicId>,
    /// Topics that lost records at their beginning.
    pub trimmed: Vec<TopicId>,
    /// Topics that have another retained record, or none any more.
    pub retained: Vec<TopicId>,
    /// Topics that are gone.
    pub deleted: Vec<Topic>,
    /// What has changed in the ledger.
    pub metered: Metered,
    /// The time of the command, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// What the proposer is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to say.
    #[default]
    Done,
    /// One outcome for each publish: run by run, in order.
    Published(Vec<Result<Published>>),
    /// Whether there was a topic to delete.
    Deleted(Result<bool>),
}

impl ShardState {
    /// The state as it was stored.
    pub fn restore(
        counters: Counters,
        topics: impl IntoIterator<Item = Topic>,
        ledger: Ledger,
    ) -> ShardState {
        let mut state = ShardState {
            next_position: counters.next_position,
            next_topic: counters.next_topic,
            time_ms: counters.time_ms,
            ledger,
            ..ShardState::default()
        };
        for topic in topics {
            assert!(
                topic.identity.id.0 < counters.next_topic,
                "topic ids are never reused"
            );
            state.insert(topic);
        }
        state
    }

    /// The numbers to store beside the topics.
    pub fn counters(&self) -> Counters {
        Counters {
            next_position: self.next_position,
            next_topic: self.next_topic,
            time_ms: self.time_ms,
        }
    }

    /// Position the next record of the shard gets.
    pub fn next_position(&self) -> u64 {
        self.next_position
    }

    /// Topics of a project, and bytes of their messages.
    pub fn held_by(&self, project: ProjectId) -> (u64, u64) {
        let topics = self.by_name.get(&project).map_or(0, FxHashMap::len) as u64;
        (
            topics,
            self.bytes.get(&project).copied().unwrap_or_default(),
        )
    }

    /// What projects have used in the hour that is going on.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The topic with this number.
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The topic with this name.
    pub fn named(&self, project: ProjectId, name: &TopicName) -> Option<&Topic> {
        self.topics.get(&self.id_of(project, name.as_str())?)
    }

    fn id_of(&self, project: ProjectId, name: &str) -> Option<TopicId> {
        self.by_name.get(&project)?.get(name).copied()
    }

    /// All topics, in no order.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    /// The topics of a project that match one of the filters and come after a name, in order.
    pub fn matching<'a>(
        &'a self,
        project: ProjectId,
        filters: &'a [TopicFilter],
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = &'a Topic> + 'a {
        self.matching_in(&self.names, project, filters, after)
    }

    /// The topics of a project that match one of the filters and have a retained record, in order of
    /// their names. It looks at no others.
    pub fn retaining<'a>(
        &'a self,
        project: ProjectId,
        filters: &'a [TopicFilter],
    ) -> impl Iterator<Item = (&'a Topic, RetainedRecord)> + 'a {
        let topics = self.matching_in(&self.retaining, project, filters, None);
        topics.filter_map(|topic| Some((topic, topic.retained?)))
    }

    fn matching_in<'a>(
        &'a self,
        names: &'a BTreeMap<(ProjectId, TopicName), TopicId>,
        project: ProjectId,
        filters: &'a [TopicFilter],
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = &'a Topic> + 'a {
        // One filter with a literal beginning narrows the walk; several are walked from the least.
        let prefix = filters
            .iter()
            .map(|f| f.literal_prefix())
            .min()
            .unwrap_or("");
        let single = filters.len() == 1;
        // A topic's own name is the first of those that begin with it.
        let exact = single && filters[0].as_topic().is_some();
        let start = match (after, TopicName::try_from(prefix)) {
            (Some(after), Ok(first)) if after < &first => Bound::Included((project, first)),
            (Some(after), _) => Bound::Excluded((project, after.clone())),
            (None, Ok(first)) => Bound::Included((project, first)),
            (None, Err(_)) => Bound::Included((project, least_name())),
        };
        names
            .range((start, Bound::Unbounded))
            .take_while(move |((p, name), _)| {
                let name = name.as_str();
                let within = match exact {
                    true => name == prefix,
                    false => !single || name.starts_with(prefix),
                };
                *p == project && within
            })
            .filter(|((_, name), _)| filters.iter().any(|f| f.matches(name.as_str())))
            .map(|(_, id)| &self.topics[id])
    }

    /// Changes the state as the command says.
    ///
    /// A part that cannot be done is answered with a refusal and changes nothing; it is the same on
    /// every replica.
    pub fn apply(&mut self, command: cluster::Command, remembered: &dyn Remembered) -> Effects {
        use cluster::command::Command;
        match command.command {
            Some(Command::Publish(batch)) => self.apply_publish(batch, remembered),
            Some(Command::Trim(trim)) => self.apply_trim(trim),
            Some(Command::DeleteTopic(delete)) => self.apply_delete(delete),
            Some(Command::Reading(reading)) => self.apply_reading(&reading),
            // A command of a newer release: this replica must not guess.
            None => panic!("the log holds a command this release does not know"),
        }
    }

    fn apply_publish(
        &mut self,
        batch: cluster::PublishBatch,
        remembered: &dyn Remembered,
    ) -> Effects {
        self.time_ms = self.time_ms.max(batch.time_ms);
        let mut effects = Effects {
            time_ms: self.time_ms,
            segments: Vec::with_capacity(batch.runs.len()),
            ..Effects::default()
        };
        let count = batch.runs.iter().map(|run| run.publishes.len()).sum();
        let mut outcomes = Vec::with_capacity(count);
        let mut fresh = Fresh::default();
        let mut refused = RefusedGroups::default();
        for run in batch.runs {
            match self.open_topic(&run, &mut refused, &mut effects) {
                Ok(id) => {
                    let known = (&mut fresh, &mut refused, remembered);
                    self.append(id, run, known, &mut effects, &mut outcomes);
                }
                Err(refusal) => {
                    let groups = run.publishes.iter().map(|p| p.group).filter(|g| *g != 0);
                    refused.extend(groups.map(|group| (group, refusal.clone())));
                    outcomes.extend(run.publishes.iter().map(|_| Err(refusal.clone())));
                }
            }
        }
        effects.answer = Answer::Published(outcomes);
        effects
    }

    /// The topic of a run, made if it does not exist and may be.
    fn open_topic(
        &mut self,
        run: &cluster::TopicRun,
        refused: &mut RefusedGroups,
        effects: &mut Effects,
    ) -> Result<TopicId> {
        let project = ProjectId::try_from(&run.project[..])
            .map_err(|_| Refusal::new(ErrorCode::Internal, "the log names no valid project"))?;
        // A name that a topic has was checked when it was made.
        if let Some(id) = self.id_of(project, &run.topic) {
            return Ok(id);
        }
        let name = TopicName::try_from(run.topic.as_str())
            .map_err(|_| Refusal::new(ErrorCode::Internal, "the log names no valid topic"))?;
        let policy = run.policy.unwrap_or_default();
        // Publishes to a topic that is gone do not make another one.
        let wants_another = |p: &cluster::Publish| p.if_topic_id_plus_one != 0;
        if !run.publishes.is_empty() && run.publishes.iter().all(wants_another) {
            return Err(another_topic());
        }
        // Nor do publishes that are refused with others.
        let mut publishes = run.publishes.iter();
        if let Some(refusal) = publishes.clone().find_map(|p| refused.get(&p.group))
            && publishes.all(|p| refused.contains_key(&p.group))
        {
            return Err(refusal.clone());
        }
        if policy.must_exist {
            return Err(Refusal::new(ErrorCode::NotFound, "there is no such topic"));
        }
        let topics = self.by_name.get(&project).map_or(0, FxHashMap::len) as u64;
        if policy
            .topics_max_plus_one
            .checked_sub(1)
            .is_some_and(|max| topics >= max)
        {
            let message = "the project has as many topics as its quota allows; delete some";
            return Err(Refusal::new(ErrorCode::QuotaExceeded, message));
        }
        if self.topics.len() >= TOPICS_PER_SHARD_MAX {
            let message = "the shard has as many topics as it can";
            return Err(Refusal::new(ErrorCode::QuotaExceeded, message));
        }
        let id = TopicId(self.next_topic);
        self.next_topic += 1;
        self.insert(Topic {
            identity: Arc::new(TopicIdentity::new(project, name, id)),
            first_offset: 0,
            next_offset: 0,
            first_bytes: 0,
            next_bytes: 0,
            last_position: 0,
            time_ms: self.time_ms,
            last_value: policy.last_value,
            retained: None,
        });
        effects.touched.push(id);
        Ok(id)
    }

    fn append(
        &mut self,
        id: TopicId,
        run: cluster::TopicRun,
        (fresh, refused, remembered): (&mut Fresh, &mut RefusedGroups, &dyn Remembered),
        effects: &mut Effects,
        outcomes: &mut Vec<Result<Published>>,
    ) {
        let topic = self.topics.get_mut(&id).expect("an opened topic exists");
        let policy = TopicPolicy::from_wire(&run.policy.unwrap_or_default());
        topic.last_value = policy.last_value;
        let stored = self.bytes.entry(topic.identity.project).or_default();
        let publishes = run.publishes;
        let (base_offset, base_bytes) = (topic.next_offset, topic.next_bytes);
        let retained_before = topic.retained;
        let mut messages: Vec<Bytes> = Vec::with_capacity(publishes.len());
        let mut used = Traffics::default();
        for publish in publishes {
            if publish.group != 0
                && let Some(refusal) = refused.get(&publish.group)
            {
                outcomes.push(Err(refusal.clone()));
                continue;
            }
            let key: Option<[u8; 16]> = publish.idempotency[..].try_into().ok();
            let earlier = key.and_then(|key| {
                let known = fresh.get(&(id, key)).copied();
                known.or_else(|| remembered.offset_of(id, &key, self.time_ms))
            });
            let offset = topic.next_offset;
            if let Some(offset) = earlier {
                outcomes.push(Ok(Published {
                    topic: id,
                    offset,
                    duplicate: true,
                }));
                continue;
            }
            let condition = (
                publish.if_next_offset_plus_one,
                publish.if_topic_id_plus_one,
            );
            let stored_with = stored.saturating_add(publish.message.len() as u64);
            let has_room = policy.stored_bytes_max.is_none_or(|max| stored_with <= max);
            let checked = match check_end(topic, TopicEnd::from_wire(condition)) {
                Ok(()) if !has_room => Err(no_room()),
                checked => checked,
            };
            if let Err(refusal) = checked {
                if publish.group != 0 {
                    refused.insert(publish.group, refusal.clone());
                }
                outcomes.push(Err(refusal));
                continue;
            }
            *stored = stored_with;
            match Retain::from_wire(publish.retain) {
                Some(Retain::Unchanged) => {}
                Some(Retain::Set) => {
                    topic.retained = Some(RetainedRecord {
                        offset,
                        position: self.next_position + messages.len() as u64,
                    });
                }
                Some(Retain::Clear) => topic.retained = None,
                None => panic!("the log holds a publish this release does not know"),
            }
            topic.next_offset += 1;
            topic.next_bytes += publish.message.len() as u64;
            metering::came_in(&mut used, publish.protocol(), publish.message.len() as u64);
            messages.push(publish.message);
            if let Some(key) = key {
                fresh.insert((id, key), offset);
                effects.remember.push((id, key, offset));
            }
            if topic.last_value {
                let key = publish.key[..].try_into().unwrap_or([0; 16]);
                effects.keyed.push((id, key, offset));
            }
            outcomes.push(Ok(Published {
                topic: id,
                offset,
                duplicate: false,
            }));
        }
        if messages.is_empty() {
            return;
        }
        let project = topic.identity.project;
        if !system::is_own(project) {
            let (ledger, metered) = (&mut self.ledger, &mut effects.metered);
            ledger.appended(project, &used, *stored, self.time_ms, metered);
        }
        topic.time_ms = self.time_ms;
        topic.last_position = self.next_position + messages.len() as u64 - 1;
        let segment = Segment::new(
            topic.identity.clone(),
            base_offset,
            self.next_position,
            base_bytes,
            self.time_ms,
            messages,
        );
        assert_eq!(
            segment.end_offset(),
            topic.next_offset,
            "offsets have no holes"
        );
        self.next_position = segment.end_position();
        effects.segments.push(Arc::new(segment));
        if topic.retained != retained_before {
            let key = (topic.identity.project, topic.identity.name.clone());
            match topic.retained {
                Some(_) => drop(self.retaining.insert(key, id)),
                None => drop(self.retaining.remove(&key)),
            }
            effects.retained.push(id);
        }
    }

    fn apply_trim(&mut self, trim: cluster::Trim) -> Effects {
        self.time_ms = self.time_ms.max(trim.time_ms);
        let mut effects = Effects {
            time_ms: self.time_ms,
            ..Effects::default()
        };
        for wanted in trim.topics {
            let id = TopicId(wanted.topic_id);
            // The topic may have been deleted, or trimmed further, since the leader looked.
            if let Some(topic) = self.topics.get_mut(&id)
                && wanted.first_offset > topic.first_offset
                && wanted.first_offset <= topic.next_offset
            {
                topic.first_offset = wanted.first_offset;
                let first_bytes = wanted
                    .first_bytes
                    .clamp(topic.first_bytes, topic.next_bytes);
                let dropped = first_bytes - std::mem::replace(&mut topic.first_bytes, first_bytes);
                let project = topic.identity.project;
                self.release(project, dropped, &mut effects.metered);
                effects.trimmed.push(id);
                effects.touched.push(id);
            }
        }
        effects
    }

    fn apply_reading(&mut self, reading: &cluster::Reading) -> Effects {
        self.time_ms = self.time_ms.max(reading.time_ms);
        let mut effects = Effects {
            time_ms: self.time_ms,
            ..Effects::default()
        };
        self.ledger
            .take(reading, self.time_ms, &mut effects.metered);
        effects
    }

    fn apply_delete(&mut self, delete: cluster::DeleteTopic) -> Effects {
        let mut effects = Effects {
            time_ms: self.time_ms,
            ..Effects::default()
        };
        let project = ProjectId::try_from(&delete.project[..]).ok();
        let name = TopicName::try_from(delete.topic.as_str()).ok();
        let key = project.zip(name);
        let id = key
            .as_ref()
            .and_then(|(project, name)| self.id_of(*project, name.as_str()));
        let condition = (delete.if_next_offset_plus_one, delete.if_topic_id_plus_one);
        let deleted =
            match id.map(|id| check_end(&self.topics[&id], TopicEnd::from_wire(condition))) {
                // Whatever the condition says, it is gone: so a repeated deletion is told.
                None => Ok(false),
                Some(checked) => checked.map(|()| true),
            };
        if let (Some((project, name)), Some(id), Ok(true)) = (key, id, &deleted) {
            self.forget(project, name);
            let topic = self.topics.remove(&id);
            if let Some(topic) = &topic {
                let bytes = topic.next_bytes - topic.first_bytes;
                self.release(project, bytes, &mut effects.metered);
            }
            effects.deleted.extend(topic);
        }
        effects.answer = Answer::Deleted(deleted);
        effects
    }

    /// Takes a name from its topic.
    fn forget(&mut self, project: ProjectId, name: TopicName) {
        if let Entry::Occupied(mut names) = self.by_name.entry(project) {
            names.get_mut().remove(&name);
            if names.get().is_empty() {
                names.remove();
            }
        }
        let key = (project, name);
        self.names.remove(&key);
        self.retaining.remove(&key);
    }

    /// A project has so many bytes less.
    fn release(&mut self, project: ProjectId, less: u64, metered: &mut Metered) {
        let Entry::Occupied(mut stored) = self.bytes.entry(project) else {
            return;
        };
        *stored.get_mut() -= less;
        let left = *stored.get();
        if left == 0 {
            stored.remove();
        }
        if !system::is_own(project) {
            self.ledger.stores(project, left, self.time_ms, metered);
        }
    }

    fn insert(&mut self, topic: Topic) {
        let (project, name) = (topic.identity.project, topic.identity.name.clone());
        let id = topic.identity.id;
        if topic.retained.is_some() {
            self.retaining.insert((project, name.clone()), id);
        }
        let bytes = topic.next_bytes - topic.first_bytes;
        *self.bytes.entry(project).or_default() += bytes;
        let names = self.by_name.entry(project).or_default();
        names.insert(name.clone(), id);
        self.names.insert((project, name), id);
        let before = self.topics.insert(id, topic);
        assert!(before.is_none(), "topic ids are never reused");
    }
}

fn no_room() -> Refusal {
    let message = "the project stores as many bytes as its quota allows; delete some, or keep less";
    Refusal::new(ErrorCode::QuotaExceeded, message)
}

/// Whether a topic is the one that a condition names, and ends where it says.
fn check_end(topic: &Topic, condition: Option<TopicEnd>) -> Result<()> {
    let Some(end) = condition else {
        return Ok(());
    };
    if end.topic.is_some_and(|wanted| wanted != topic.identity.id) {
        return Err(another_topic());
    }
    if end.next_offset != topic.next_offset {
        let offset = topic.next_offset;
        let message = format!("the topic ends at offset {offset}, not at the cursor");
        return Err(Refusal::new(ErrorCode::PreconditionFailed, message));
    }
    Ok(())
}

fn another_topic() -> Refusal {
    let message = "the topic is not the one the cursor was made for";
    Refusal::new(ErrorCode::PreconditionFailed, message)
}

/// A name that no valid name sorts before.
fn least_name() -> TopicName {
    TopicName::try_from("\u{1}").expect("a valid name")
}

#[cfg(test)]
mod tests;
