//! What goes wrong, and when. All of it from the seed, all of it repaired in the end.

mod network;
mod node;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use turmoil::Sim;

use crate::world::{NODES, World, host_name};

/// Before this nothing goes wrong: the cluster is being founded.
const BEGIN: Duration = Duration::from_millis(600);

/// Makes faults and repairs them.
pub struct Nemesis {
    world: Arc<World>,
    random: SmallRng,
    next_fault: Duration,
    /// What is to be done at which time; the number keeps two at the same time apart.
    later: BTreeMap<(Duration, u64), Later>,
    scheduled: u64,
    /// Nodes without a process, or with one that is on its way out.
    down: [bool; NODES],
    network_is_faulty: bool,
    leaders: Vec<Option<(u64, u64)>>,
}

/// Something to do at a later time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    /// The node loses power.
    Crash(usize),
    /// The node's process dies, and the machine lives.
    Kill(usize),
    /// The node is started.
    Start(usize),
    /// The node's disk is as quick as the others.
    Quicken(usize),
    /// The network is repaired.
    Repair,
}

impl Nemesis {
    /// Nothing is wrong yet.
    pub fn new(world: Arc<World>) -> Nemesis {
        let mut random = SmallRng::seed_from_u64(world.settings.seed ^ 0x000b_adca_5cad_e000);
        let pause = world
            .settings
            .fault_pause
            .mul_f64(random.random::<f64>() * 2.0);
        Nemesis {
            next_fault: BEGIN + pause,
            world,
            random,
            later: BTreeMap::new(),
            scheduled: 0,
            down: [false; NODES],
            network_is_faulty: false,
            leaders: Vec::new(),
        }
    }

    /// Whether [`Nemesis::step`] would do something: nodes are looked at before that, since what they had
    /// is the measure of what they may lose.
    pub fn is_due(&self, leaders: &[Option<(u64, u64)>]) -> bool {
        let now = self.world.now();
        let powerless = self
            .world
            .nodes
            .iter()
            .any(|slot| slot.disk.faults.power_is_out());
        let later = self
            .later
            .first_key_value()
            .is_some_and(|((time, _), _)| *time <= now);
        let fault = now >= self.next_fault && !self.world.is_finishing();
        powerless || later || fault || leaders != self.leaders
    }

    /// Does what is due. `leaders` are the highest ones elected so far.
    pub fn step(&mut self, sim: &mut Sim<'_>, leaders: Vec<Option<(u64, u64)>>) {
        let now = self.world.now();
        self.collect_powerless(sim);
        while let Some((&(time, number), &later)) = self.later.first_key_value()
            && time <= now
        {
            self.later.remove(&(time, number));
            self.act(sim, later);
        }
        let elected = leaders != self.leaders;
        self.leaders = leaders;
        if self.world.is_finishing() {
            return;
        }
        // A fresh leader is a good moment: much of what it stands on is not on disk yet.
        let calm = self.world.settings.fault_pause > Duration::from_secs(60);
        if elected && !calm && now > BEGIN && self.random.random_ratio(1, 4) {
            self.crash_some(sim);
        }
        if now >= self.next_fault {
            let pause = self.world.settings.fault_pause;
            self.next_fault = now + pause.mul_f64(self.random.random::<f64>() * 2.0);
            self.make_fault(sim);
        }
    }

    /// Repairs everything.
    pub fn heal(&mut self, sim: &mut Sim<'_>) {
        self.world.log(format_args!("faults end"));
        self.later.clear();
        self.repair_network(sim);
        sim.set_fail_rate(0.0);
        for node in 0..NODES {
            self.quicken(node);
            if self.down[node] || self.world.is_broken(node as u64 + 1) {
                self.kill(sim, node);
                self.start(sim, node);
            }
        }
    }

    fn make_fault(&mut self, sim: &mut Sim<'_>) {
        match self.random.random_range(0..20) {
            0..=2 => self.crash_soon(),
            3 => self.crash_some(sim),
            4 => self.crash_all(sim),
            5..=6 => self.kill_one(sim),
            7..=8 => self.stop_one(),
            9 => self.break_disk(),
            10 => self.break_store(),
            11..=13 => self.slow_disk(),
            14..=15 => self.isolate(sim),
            16..=17 => self.cut_pair(sim),
            18 => self.cut_one_way(sim),
            _ => self.hold(sim),
        }
    }

    fn act(&mut self, sim: &mut Sim<'_>, later: Later) {
        match later {
            Later::Crash(node) => self.crash(sim, node),
            Later::Kill(node) => self.kill(sim, node),
            Later::Start(node) => self.start(sim, node),
            Later::Quicken(node) => self.quicken(node),
            Later::Repair => self.repair_network(sim),
        }
    }

    fn later(&mut self, after_ms: std::ops::Range<u64>, later: Later) {
        let after = Duration::from_millis(self.random.random_range(after_ms));
        self.scheduled += 1;
        self.later
            .insert((self.world.now() + after, self.scheduled), later);
    }

    /// A node that runs.
    fn victim(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..NODES).filter(|node| !self.down[*node]).collect();
        (!up.is_empty()).then(|| up[self.random.random_range(0..up.len())])
    }

    fn host(&self, node: usize) -> String {
        host_name(self.world.nodes[node].id)
    }
}
