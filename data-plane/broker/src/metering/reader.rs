//! Has what a node counts taken down in the log, once.

use std::collections::HashMap;

use futures_util::future::join_all;
use highwater_proto::{
    cluster as wire,
    ids::{MeterId, NodeId, ProjectId, ShardId},
    limits::READING_PROJECTS_MAX,
};

use super::{Traffic, Traffics, key_use, traffics_to_wire};
use crate::{broker::Broker, catalogue::Project, refusal::Result};

/// Takes readings of all projects of a node.
pub struct Reader {
    meter: MeterId,
    node: NodeId,
    /// What was put into readings of each project so far.
    read: HashMap<ProjectId, Read>,
    shards: HashMap<ShardId, Outbox>,
}

/// The last reading of a project.
#[derive(Default)]
struct Read {
    total: Traffics,
    open: u64,
    at_ms: u64,
}

/// Longest time between readings of a project whose connections are open and silent: they keep nobody awake.
const SILENT_MS: u64 = 60_000;

impl Read {
    /// What was counted since, if that is worth a reading.
    fn next(
        &mut self,
        project: &Project,
        now_ms: u64,
        silent_ms: u64,
    ) -> Option<wire::ProjectReading> {
        let meter = project.usage.meter();
        let (total, open) = (meter.read(now_ms), meter.open());
        let more: Traffics = std::array::from_fn(|at| total[at].since(&self.total[at]));
        let has_keys = meter.has_keys();
        let is_silent =
            !has_keys && open == self.open && more.iter().all(|more| more.messages_out == 0);
        let is_nothing = more.iter().all(|more| *more == Traffic::default());
        let is_due = now_ms >= self.at_ms.saturating_add(silent_ms);
        if (is_silent && !is_due) || (is_nothing && open == self.open && !has_keys) {
            return None;
        }
        (self.total, self.open, self.at_ms) = (total, open, now_ms);
        Some(wire::ProjectReading {
            project: project.id.as_bytes().to_vec().into(),
            traffic: traffics_to_wire(&more),
            connections: meter.take_open_max(),
            keys: meter
                .take_keys()
                .into_iter()
                .map(|(key, used_ms)| key_use(key.as_bytes(), used_ms))
                .collect(),
        })
    }
}

/// The readings of one shard.
#[derive(Default)]
struct Outbox {
    /// Of the last reading that was made.
    number: u64,
    /// The one of which it is not known whether it was taken. It is sent again as it is before there is another.
    unsettled: Option<wire::Reading>,
}

impl Reader {
    /// Of a node that has just been started.
    pub fn new(node: NodeId, meter: MeterId) -> Reader {
        Reader {
            meter,
            node,
            read: HashMap::new(),
            shards: HashMap::new(),
        }
    }

    /// Takes a reading, at a time in milliseconds since the Unix epoch. What cannot be taken down now is with the next
    /// one. Says whether everything was.
    pub async fn take(&mut self, broker: &Broker, now_ms: u64) -> bool {
        self.take_since(broker, now_ms, SILENT_MS).await
    }

    /// Takes the last reading: of silent connections, too.
    pub async fn take_all(&mut self, broker: &Broker, now_ms: u64) -> bool {
        self.take_since(broker, now_ms, 0).await
    }

    async fn take_since(&mut self, broker: &Broker, now_ms: u64, silent_ms: u64) -> bool {
        let settled = self.settle(broker).await;
        self.make(broker, now_ms, silent_ms);
        self.settle(broker).await && settled
    }

    /// Makes readings of what was counted since the last ones, for shards of which none is unsettled.
    fn make(&mut self, broker: &Broker, now_ms: u64, silent_ms: u64) {
        let catalogue = broker.catalogue();
        self.read
            .retain(|project, _| catalogue.project(*project).is_some());
        let mut made: HashMap<ShardId, Vec<wire::ProjectReading>> = HashMap::new();
        for project in catalogue.projects() {
            let Some(&home) = project.shards.first() else {
                continue;
            };
            let outbox = self.shards.get(&home);
            let is_settled = outbox.is_none_or(|outbox| outbox.unsettled.is_none());
            let readings = made.entry(home).or_default();
            if !is_settled || readings.len() >= READING_PROJECTS_MAX {
                continue;
            }
            let before = self.read.entry(project.id).or_default();
            readings.extend(before.next(project, now_ms, silent_ms));
        }
        for (shard, projects) in made.into_iter().filter(|(_, made)| !made.is_empty()) {
            let outbox = self.shards.entry(shard).or_default();
            outbox.number += 1;
            outbox.unsettled = Some(wire::Reading {
                time_ms: 0,
                meter: self.meter.as_bytes().to_vec().into(),
                number: outbox.number,
                node: self.node.0,
                projects,
            });
        }
    }

    /// Sends what is not known to have been taken.
    async fn settle(&mut self, broker: &Broker) -> bool {
        let unsettled = self.shards.iter_mut();
        let unsettled = unsettled.filter(|(_, outbox)| outbox.unsettled.is_some());
        let sent = unsettled.map(async |(shard, outbox)| {
            let reading = outbox.unsettled.clone().expect("it was looked for");
            let taken = send(broker, *shard, reading).await;
            match &taken {
                Ok(()) => outbox.unsettled = None,
                Err(refusal) => tracing::debug!(%shard, %refusal, "a reading is taken later"),
            }
            taken.is_ok()
        });
        join_all(sent).await.into_iter().all(|taken| taken)
    }
}

async fn send(broker: &Broker, shard: ShardId, reading: wire::Reading) -> Result<()> {
    broker.shard(shard)?.take_reading(reading).await
}
