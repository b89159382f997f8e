//! Faults of nodes: power, processes, disks.

use std::{sync::atomic::Ordering, time::Duration};

use highwater_storage::disk::fault::Operation;
use rand::Rng;
use turmoil::Sim;

use super::{Later, Nemesis};
use crate::{settings::pick, world::NODES};

/// How long a node stays down, in milliseconds.
const DOWN_MS: std::ops::Range<u64> = 20..2_500;
/// The slowest sync of a slow disk.
const SLOW_SYNC_MAX: Duration = Duration::from_millis(400);
/// Errors of disks: a bad sector and no room.
const ERRORS: [i32; 2] = [5, 28];

impl Nemesis {
    /// The power goes out in the middle of some write or sync that is about to come.
    pub(super) fn crash_soon(&mut self) {
        let Some(node) = self.victim() else {
            return;
        };
        let changes = self.random.random_range(0..12);
        self.world.log(format_args!(
            "n{} loses power in {changes} changes",
            node + 1
        ));
        let slot = &self.world.nodes[node];
        slot.broken.store(true, Ordering::Relaxed);
        slot.disk.faults.cut_power_after(changes);
        self.down[node] = true;
        // It may have nothing to write.
        self.later(100..400, Later::Crash(node));
    }

    /// The nodes whose power went out during a write.
    pub(super) fn collect_powerless(&mut self, sim: &mut Sim<'_>) {
        for node in 0..NODES {
            if self.world.nodes[node].disk.faults.power_is_out() {
                self.later.retain(|_, later| *later != Later::Crash(node));
                self.crash(sim, node);
            }
        }
    }

    /// Some nodes lose power, now.
    pub(super) fn crash_some(&mut self, sim: &mut Sim<'_>) {
        match self.random.random_range(0..3) {
            0 => self.crash_all(sim),
            _ => {
                if let Some(node) = self.victim() {
                    self.crash(sim, node);
                }
            }
        }
    }

    /// All nodes lose power at once.
    pub(super) fn crash_all(&mut self, sim: &mut Sim<'_>) {
        self.world.log(format_args!("the power is out"));
        for node in 0..NODES {
            if !self.down[node] {
                self.crash(sim, node);
            }
        }
    }

    /// A process dies with everything it had in memory; what it wrote is still in the page cache.
    pub(super) fn kill_one(&mut self, sim: &mut Sim<'_>) {
        if let Some(node) = self.victim() {
            self.kill(sim, node);
        }
    }

    /// A node is restarted in good order.
    pub(super) fn stop_one(&mut self) {
        let Some(node) = self.victim() else {
            return;
        };
        if self.world.nodes[node].running().is_none() || self.world.is_broken(node as u64 + 1) {
            return;
        }
        self.world.nodes[node].stop.notify_one();
        self.down[node] = true;
        self.later(2_500..4_000, Later::Kill(node));
    }

    /// A disk refuses from now on.
    pub(super) fn break_disk(&mut self) {
        let Some(node) = self.victim() else {
            return;
        };
        let operations = [
            Operation::Write,
            Operation::Sync,
            Operation::SyncDir,
            Operation::Create,
        ];
        let operation = *pick(&mut self.random, &operations);
        let after = self.random.random_range(0..5);
        let error = *pick(&mut self.random, &ERRORS);
        self.world.log(format_args!(
            "n{} fails in {after}: {operation:?} {error}",
            node + 1
        ));
        let slot = &self.world.nodes[node];
        slot.broken.store(true, Ordering::Relaxed);
        slot.disk.faults.fail_after(operation, after, error);
        self.down[node] = true;
        let end = match self.random.random() {
            true => Later::Crash(node),
            false => Later::Kill(node),
        };
        self.later(100..2_000, end);
    }

    /// A store refuses from now on.
    pub(super) fn break_store(&mut self) {
        let Some(node) = self.victim() else {
            return;
        };
        self.world.log(format_args!("n{}'s store fails", node + 1));
        let slot = &self.world.nodes[node];
        slot.broken.store(true, Ordering::Relaxed);
        slot.kv.set_failing(true);
        self.down[node] = true;
        self.later(100..2_000, Later::Kill(node));
    }

    /// A disk takes its time for a while.
    pub(super) fn slow_disk(&mut self) {
        let node = self.random.random_range(0..NODES);
        self.world.log(format_args!("n{}'s disk is slow", node + 1));
        self.world.nodes[node].disk.set_latency_max(SLOW_SYNC_MAX);
        self.later(200..3_000, Later::Quicken(node));
    }

    pub(super) fn quicken(&mut self, node: usize) {
        self.world.nodes[node]
            .disk
            .set_latency_max(self.world.settings.sync_latency_max);
    }

    /// The power goes out: what was not synced is lost, torn or flipped.
    pub(super) fn crash(&mut self, sim: &mut Sim<'_>, node: usize) {
        let seed = self.random.random();
        self.world.log(format_args!("n{} loses power", node + 1));
        sim.crash(self.host(node));
        self.world.nodes[node].disk.faults.crash(seed);
        self.ended(node);
    }

    /// The process dies, if it has not ended already.
    pub(super) fn kill(&mut self, sim: &mut Sim<'_>, node: usize) {
        self.world
            .log(format_args!("n{}'s process is gone", node + 1));
        sim.crash(self.host(node));
        self.world.nodes[node].disk.faults.restart();
        self.ended(node);
    }

    fn ended(&mut self, node: usize) {
        let slot = &self.world.nodes[node];
        slot.end();
        slot.kv.set_failing(false);
        slot.kv.crash();
        self.down[node] = true;
        self.later(DOWN_MS, Later::Start(node));
    }

    pub(super) fn start(&mut self, sim: &mut Sim<'_>, node: usize) {
        let this = |later: &Later| {
            [Later::Start(node), Later::Crash(node), Later::Kill(node)].contains(later)
        };
        self.later.retain(|_, later| !this(later));
        self.world.nodes[node]
            .broken
            .store(false, Ordering::Relaxed);
        self.down[node] = false;
        sim.bounce(self.host(node));
    }
}
