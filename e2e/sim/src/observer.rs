//! Looks at every replica from the outside, between two steps of the simulation.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use highwater_broker::handle::TopicView;
use highwater_cluster::Cluster;
use highwater_proto::{ids::ShardId, names::TopicFilter};
use highwater_storage::log::{LogId, ShardLog, Vote};

use crate::{message::digest, world::World};

/// A node as it was when last seen.
#[derive(Default)]
pub struct NodeView {
    /// Its id.
    pub node: u64,
    /// Which of its processes was seen.
    pub life: u64,
    /// Whether that process still runs.
    pub is_up: bool,
    /// Whether it may have more than was seen, which its next process has to show: it stopped in good
    /// order between two looks, or its disk could not be read any more.
    pub is_unseen: bool,
    /// Its replicas.
    pub shards: Vec<ReplicaView>,
}

/// One replica as it was when last seen.
#[derive(Default)]
pub struct ReplicaView {
    /// Its log: what was purged is not in it.
    pub log: LogCopy,
    /// Whom it votes for.
    pub vote: Option<Vote>,
    /// Whether it takes itself for the leader.
    pub leads: bool,
    /// What it knows to be committed.
    pub committed: Option<LogId>,
    /// What it has applied.
    pub applied: Option<LogId>,
    /// Where the next record goes, by what it has applied.
    pub next_position: u64,
    /// A digest of all topics, as applied.
    pub topics_digest: u64,
    /// Why it stopped, if so.
    pub stopped: Option<String>,
}

/// An entry, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: LogId,
    /// A digest of its payload.
    pub digest: u64,
}

/// A copy of a replica's log.
#[derive(Default)]
pub struct LogCopy {
    /// The last entry that was purged.
    pub purged: Option<LogId>,
    /// The live entries by index.
    pub entries: BTreeMap<u64, Record>,
    /// The first index that changed at the last look.
    pub changed_from: u64,
    /// How often it was seen to go on behind entries that it never had: a snapshot was installed.
    pub jumps: u64,
}

impl LogCopy {
    /// Whether the log has this entry, or had it and let it go for a checkpoint that covers it.
    pub fn has(&self, id: LogId) -> bool {
        let purged = self.purged.is_some_and(|purged| purged.index >= id.index);
        purged
            || self
                .entries
                .get(&id.index)
                .is_some_and(|entry| entry.id == id)
    }

    /// Takes nothing for granted: all of it is read again.
    pub fn forget(&mut self) {
        self.entries.clear();
    }

    /// Brings the copy up to date: entries that are the same are not read again.
    fn refresh(&mut self, log: &ShardLog) -> Result<(), String> {
        let live = log.live();
        self.purged = log.state().purged;
        let last = self.entries.last_key_value().map(|(index, _)| *index);
        self.jumps += u64::from(last.is_some_and(|last| last + 1 < live.start));
        self.entries = self.entries.split_off(&live.start);
        self.entries.split_off(&live.end);
        // From the end back to the first entry that is what it was: what lies before has not changed.
        let mut same = live.start;
        while let Some((&index, known)) = self.entries.last_key_value() {
            if read(log, index, index + 1)?.first() == Some(known) {
                same = index + 1;
                break;
            }
            self.entries.pop_last();
        }
        self.changed_from = same;
        while same < live.end {
            let more = read(log, same, live.end)?;
            if more.is_empty() {
                return Err(format!("the log of {} has a hole at {same}", log.shard()));
            }
            for record in more {
                self.entries.insert(same, record);
                same += 1;
            }
        }
        Ok(())
    }
}

fn read(log: &ShardLog, start: u64, end: u64) -> Result<Vec<Record>, String> {
    let entries = log
        .read(start..end, 1 << 20)
        .map_err(|error| error.to_string())?;
    let record = |entry: &highwater_storage::log::Entry| Record {
        id: entry.id,
        digest: digest(&entry.payload),
    };
    Ok(entries.iter().map(record).collect())
}

/// All nodes, none of them seen yet.
pub fn unseen(world: &World) -> Vec<NodeView> {
    let replicas = || {
        (0..world.settings.shards)
            .map(|_| ReplicaView::default())
            .collect()
    };
    let node = |slot: &crate::world::Slot| NodeView {
        node: slot.id.0,
        shards: replicas(),
        ..NodeView::default()
    };
    world.nodes.iter().map(node).collect()
}

/// Looks at all nodes. One that is down stays as it was seen last. Returns an error where a disk that
/// works gives back something else than was written.
pub fn look(world: &World, views: &mut [NodeView]) -> Result<(), String> {
    let all = [TopicFilter::try_from("#").expect("a valid filter")];
    for (slot, view) in world.nodes.iter().zip(views) {
        let running = slot.running();
        let cluster = running
            .as_ref()
            .and_then(|running| running.cluster.upgrade());
        let (Some(running), Some(cluster)) = (running, cluster) else {
            view.is_up = false;
            view.is_unseen |= slot.stopped_well.load(Ordering::Relaxed);
            continue;
        };
        if view.life != running.life {
            // What a process finds on its disk is read from its beginning.
            view.shards
                .iter_mut()
                .for_each(|replica| replica.log.forget());
            view.life = running.life;
        }
        view.is_up = true;
        view.is_unseen = false;
        look_at_shards(world, &cluster, view, &all)
            .map_err(|what| format!("n{}: {what}", slot.id))?;
    }
    Ok(())
}

fn look_at_shards(
    world: &World,
    cluster: &Cluster,
    view: &mut NodeView,
    all: &[TopicFilter],
) -> Result<(), String> {
    let health = cluster.health();
    for (index, replica) in view.shards.iter_mut().enumerate() {
        let shard = ShardId(index as u32);
        let log = cluster.log().shard(shard);
        let state = log.state();
        let broken = health.storage_failure.is_some() || health.shards[index].stopped.is_some();
        match replica.log.refresh(&log) {
            Ok(()) => {}
            // A disk that was made to fail may refuse to be read.
            Err(_) if broken || world.is_broken(view.node) => view.is_unseen = true,
            Err(what) => return Err(what),
        }
        let store = cluster
            .store()
            .shard(shard)
            .map_err(|error| error.to_string())?;
        replica.vote = state.vote;
        replica.leads = health.shards[index].is_leader;
        replica.committed = state.committed;
        replica.applied = store.applied();
        replica.next_position = store.next_position();
        let topics = store.topics(world.project.id, all, None, usize::MAX);
        replica.topics_digest = topics_digest(&topics);
        replica.stopped = health.shards[index].stopped.clone();
    }
    Ok(())
}

fn topics_digest(topics: &[TopicView]) -> u64 {
    let text = |topic: &TopicView| {
        let (id, first, next) = (topic.id, topic.first_offset, topic.next_offset);
        format!("{} {id} {first} {next} {}\n", topic.name, topic.bytes)
    };
    digest(topics.iter().map(text).collect::<String>().as_bytes())
}
