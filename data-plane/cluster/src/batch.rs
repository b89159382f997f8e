//! Publishes that were waiting together: one proposal, many callers.

use std::collections::hash_map::Entry;

use bytes::Bytes;
use highwater_broker::{
    handle::{Publish, Published},
    refusal::{Refusal, Result},
};
use highwater_proto::{
    cluster as wire,
    ids::ProjectId,
    limits::{PROPOSAL_BYTES_MAX, PROPOSAL_MESSAGES_MAX},
    names::TopicName,
    trace,
};
use rustc_hash::FxHashMap;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};
use tracing::Span;

use crate::requests::forwarded_to_wire;

/// Publishes of several callers, in the order they came.
pub struct Batch {
    publishes: Vec<Publish>,
    bytes: usize,
    callers: Vec<Caller>,
    /// When the oldest of them was taken off its queue.
    pub since: Instant,
}

/// Who waits for some of a batch's outcomes.
struct Caller {
    count: usize,
    reply: oneshot::Sender<Result<Vec<Result<Published>>>>,
    /// Whether it came from another node, which must not be sent on.
    forwarded: bool,
    /// Frees the caller's room in the queue.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch {
            publishes: Vec::new(),
            bytes: 0,
            callers: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Whether it is as large as a proposal gets.
    pub fn is_full(&self) -> bool {
        self.publishes.len() >= PROPOSAL_MESSAGES_MAX || self.bytes >= PROPOSAL_BYTES_MAX
    }

    /// The number of publishes.
    pub fn len(&self) -> usize {
        self.publishes.len()
    }

    /// Adds one caller's publishes.
    pub fn add(
        &mut self,
        mut publishes: Vec<Publish>,
        reply: oneshot::Sender<Result<Vec<Result<Published>>>>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        // What is before it here is another caller's.
        if let Some(first) = publishes.first_mut() {
            first.with_previous = false;
        }
        self.bytes += publishes.iter().map(|p| p.message.len()).sum::<usize>();
        self.callers.push(Caller {
            count: publishes.len(),
            reply,
            forwarded: permit.is_none(),
            _permit: permit,
        });
        self.publishes.extend(publishes);
    }

    /// Adds another batch behind this one.
    pub fn append(&mut self, more: Batch) {
        self.publishes.extend(more.publishes);
        self.bytes += more.bytes;
        self.callers.extend(more.callers);
    }

    /// The command that appends them all, and where in its outcomes each publish finds its own.
    ///
    /// Publishes to one topic become one run, so that a topic's records lie together.
    pub fn command(&self, time_ms: u64) -> (wire::Command, Slots) {
        let mut runs: Vec<wire::TopicRun> = Vec::new();
        let mut by_topic: FxHashMap<(ProjectId, &TopicName), usize> = FxHashMap::default();
        let mut places = Vec::with_capacity(self.publishes.len());
        for (publish, group) in self.publishes.iter().zip(Publish::groups(&self.publishes)) {
            let run = match by_topic.entry((publish.project, &publish.topic)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    // The project is the same most of the time.
                    let project = publish.project.as_bytes();
                    let project = match runs.last() {
                        Some(run) if run.project[..] == project[..] => run.project.clone(),
                        _ => Bytes::copy_from_slice(project),
                    };
                    runs.push(wire::TopicRun {
                        project,
                        topic: publish.topic.to_string(),
                        publishes: Vec::new(),
                        policy: Some(publish.policy.to_wire()),
                    });
                    *new.insert(runs.len() - 1)
                }
            };
            places.push((run, runs[run].publishes.len()));
            runs[run].publishes.push(publish.to_wire(group));
        }
        let starts: Vec<usize> = runs
            .iter()
            .scan(0, |next, run| {
                let start = *next;
                *next += run.publishes.len();
                Some(start)
            })
            .collect();
        let slots = places.into_iter().map(|(run, index)| starts[run] + index);
        let batch = wire::PublishBatch { time_ms, runs };
        let command = wire::Command {
            command: Some(wire::command::Command::Publish(batch)),
        };
        (command, Slots(slots.collect()))
    }

    /// The request that asks the leader to append them all.
    pub fn forward(&self) -> wire::ForwardPublish {
        let groups = Publish::groups(&self.publishes);
        let publishes = self.publishes.iter().zip(groups);
        wire::ForwardPublish {
            publishes: publishes.map(forwarded_to_wire).collect(),
        }
    }

    /// Makes a span for each publish that its publisher wants to see in a trace.
    pub fn spans(&self, span: impl Fn(&Publish, &str) -> Span) -> Vec<Span> {
        if !tracing::enabled!(target: trace::TARGET, tracing::Level::INFO) {
            return Vec::new();
        }
        let publishes = self.publishes.iter();
        let traced = publishes.filter_map(|publish| {
            let traceparent = trace::sampled_traceparent(&publish.message)?;
            Some(span(publish, traceparent))
        });
        traced.collect()
    }

    /// Takes out what came from other nodes and refuses it.
    pub fn refuse_forwarded(&mut self, refusal: &Refusal) {
        if !self.callers.iter().any(|caller| caller.forwarded) {
            return;
        }
        let mut publishes = std::mem::take(&mut self.publishes).into_iter();
        let callers = std::mem::take(&mut self.callers);
        self.bytes = 0;
        for caller in callers {
            let its: Vec<Publish> = publishes.by_ref().take(caller.count).collect();
            match caller.forwarded {
                true => drop(caller.reply.send(Err(refusal.clone()))),
                false => self.add(its, caller.reply, caller._permit),
            }
        }
    }

    /// Tells every caller its outcomes, which are in the order of the publishes.
    pub fn finish(self, outcomes: Vec<Result<Published>>) {
        assert_eq!(
            outcomes.len(),
            self.publishes.len(),
            "every publish has an outcome"
        );
        let mut outcomes = outcomes.into_iter();
        for caller in self.callers {
            let its = outcomes.by_ref().take(caller.count).collect();
            // A caller may have gone.
            let _ = caller.reply.send(Ok(its));
        }
    }

    /// Tells every caller that nothing came of it.
    pub fn refuse(self, refusal: &Refusal) {
        for caller in self.callers {
            let _ = caller.reply.send(Err(refusal.clone()));
        }
    }
}

/// For each publish, the index of its outcome in the answer to the command.
pub struct Slots(Vec<usize>);

impl Slots {
    /// Outcomes in the order of the publishes.
    pub fn order(self, outcomes: Vec<Result<Published>>) -> Vec<Result<Published>> {
        if self.0.is_sorted() {
            return outcomes;
        }
        let mut outcomes: Vec<Option<_>> = outcomes.into_iter().map(Some).collect();
        let take = |slot: usize| outcomes[slot].take().expect("each outcome has one publish");
        self.0.into_iter().map(take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_proto::ids::TopicId;

    fn publish(topic: &str, message: &'static str) -> Publish {
        Publish {
            project: ProjectId::from_bytes([1; 16]),
            topic: TopicName::try_from(topic).unwrap(),
            message: Bytes::from_static(message.as_bytes()),
            idempotency: None,
            key: None,
            if_end: None,
            policy: Default::default(),
            retain: Default::default(),
            with_previous: false,
            protocol: highwater_broker::metering::Protocol::Unspecified,
        }
    }

    #[test]
    fn every_caller_gets_the_outcomes_of_its_own_publishes() {
        let mut batch = Batch::new();
        let (first, mut first_outcome) = oneshot::channel();
        let (second, mut second_outcome) = oneshot::channel();
        batch.add(
            vec![publish("a", "0"), publish("b", "1"), publish("a", "2")],
            first,
            None,
        );
        batch.add(vec![publish("b", "3")], second, None);

        let (command, slots) = batch.command(5);
        let Some(wire::command::Command::Publish(proposed)) = command.command else {
            panic!("a batch is a publish command");
        };
        // The answer numbers the outcomes by what was proposed: a0 a2 b1 b3.
        let runs = proposed.runs.iter().flat_map(|run| run.publishes.iter());
        let outcomes = runs.map(|publish| {
            let number = std::str::from_utf8(&publish.message)
                .unwrap()
                .parse()
                .unwrap();
            Ok(Published {
                topic: TopicId(0),
                offset: number,
                duplicate: false,
            })
        });
        batch.finish(slots.order(outcomes.collect()));
        let numbers = |outcome: Result<Vec<Result<Published>>>| -> Vec<u64> {
            outcome
                .unwrap()
                .into_iter()
                .map(|o| o.unwrap().offset)
                .collect()
        };
        assert_eq!(numbers(first_outcome.try_recv().unwrap()), [0, 1, 2]);
        assert_eq!(numbers(second_outcome.try_recv().unwrap()), [3]);
    }

    #[test]
    fn publishes_that_belong_together_are_of_one_caller() {
        let mut batch = Batch::new();
        let with_previous = |publish| Publish {
            with_previous: true,
            ..publish
        };
        let (first, _first) = oneshot::channel();
        let (second, _second) = oneshot::channel();
        let pair = vec![publish("a", "0"), with_previous(publish("b", "1"))];
        batch.add(pair.clone(), first, None);
        let claims = vec![with_previous(publish("a", "2")), publish("a", "3")];
        batch.add([claims, pair].concat(), second, None);
        let forwarded = batch.forward().publishes.into_iter();
        let groups: Vec<u32> = forwarded.map(|f| f.publish.unwrap().group).collect();
        assert_eq!(groups, [1, 1, 0, 0, 2, 2]);
        let Some(wire::command::Command::Publish(proposed)) = batch.command(5).0.command else {
            panic!("a batch is a publish command");
        };
        let groups = proposed.runs.iter().map(|run| {
            let groups = run.publishes.iter().map(|p| p.group);
            groups.collect::<Vec<_>>()
        });
        assert_eq!(groups.collect::<Vec<_>>(), [vec![1, 0, 0, 2], vec![1, 2]]);
    }

    #[test]
    fn what_was_forwarded_is_refused_and_the_rest_stays() {
        let mut batch = Batch::new();
        let (remote, mut refused) = oneshot::channel();
        let (local, _kept) = oneshot::channel();
        batch.add(vec![publish("a", "0")], remote, None);
        let permit = std::sync::Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned();
        batch.add(vec![publish("a", "1")], local, Some(permit.unwrap()));
        let refusal = crate::replica::no_leader("not here");
        batch.refuse_forwarded(&refusal);
        assert_eq!(refused.try_recv().unwrap(), Err(refusal));
        assert_eq!(batch.len(), 1);
        assert_eq!(batch.publishes[0].message, "1");
    }
}
