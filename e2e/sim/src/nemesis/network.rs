//! Faults of the network: one at a time.

use std::time::Duration;

use rand::Rng;
use turmoil::Sim;

use super::{Later, Nemesis};
use crate::world::NODES;

/// How long a fault of the network lasts, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 50..3_500;

impl Nemesis {
    /// One node cannot talk to the others.
    pub(super) fn isolate(&mut self, sim: &mut Sim<'_>) {
        let (node, _) = self.pair();
        if self.begin(format_args!("n{} is isolated", node + 1)) {
            for other in (0..NODES).filter(|other| *other != node) {
                sim.partition(self.host(node), self.host(other));
            }
        }
    }

    /// Two nodes cannot talk to each other.
    pub(super) fn cut_pair(&mut self, sim: &mut Sim<'_>) {
        let (a, b) = self.pair();
        if self.begin(format_args!("n{} and n{} are cut off", a + 1, b + 1)) {
            sim.partition(self.host(a), self.host(b));
        }
    }

    /// What one node says is not heard by another.
    pub(super) fn cut_one_way(&mut self, sim: &mut Sim<'_>) {
        let (a, b) = self.pair();
        if self.begin(format_args!("n{} does not reach n{}", a + 1, b + 1)) {
            sim.partition_oneway(self.host(a), self.host(b));
        }
    }

    /// What two nodes say to each other comes late, all at once; or everything is slow.
    pub(super) fn hold(&mut self, sim: &mut Sim<'_>) {
        let (a, b) = self.pair();
        if self.random.random() {
            if self.begin(format_args!(
                "n{} and n{} hear each other later",
                a + 1,
                b + 1
            )) {
                sim.hold(self.host(a), self.host(b));
            }
        } else if self.begin(format_args!("the network is slow")) {
            sim.set_max_message_latency(Duration::from_millis(250));
        }
    }

    pub(super) fn repair_network(&mut self, sim: &mut Sim<'_>) {
        if !self.network_is_faulty {
            return;
        }
        self.world.log(format_args!("the network is repaired"));
        self.network_is_faulty = false;
        sim.set_max_message_latency(self.world.settings.message_latency_max);
        for a in 0..NODES {
            for b in a + 1..NODES {
                sim.release(self.host(a), self.host(b));
                sim.repair(self.host(a), self.host(b));
            }
        }
    }

    fn begin(&mut self, what: std::fmt::Arguments<'_>) -> bool {
        if self.network_is_faulty {
            return false;
        }
        self.world.log(what);
        self.network_is_faulty = true;
        self.later(LASTS_MS, Later::Repair);
        true
    }

    fn pair(&mut self) -> (usize, usize) {
        let a = self.random.random_range(0..NODES);
        (a, (a + self.random.random_range(1..NODES)) % NODES)
    }
}
