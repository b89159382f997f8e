//! One simulation, from its seed to its verdict.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, UNIX_EPOCH},
};

use turmoil::Sim;

use crate::{
    clients,
    counts::Counts,
    entropy,
    invariants::Invariants,
    nemesis::Nemesis,
    node,
    observer::{self, NodeView},
    panics,
    settings::Settings,
    world::{World, host_name},
};

/// One step of the simulation.
const TICK: Duration = Duration::from_millis(1);
/// Steps between two looks at the replicas.
const STEPS_PER_LOOK: u64 = 10;
/// How long everything may take to come to rest when the faults are over.
const REST_WITHIN: Duration = Duration::from_secs(40);
/// Room for deep futures that are not boxed.
const STACK_BYTES: usize = 16 << 20;

/// How a simulation ended.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Which promise was broken, if one was.
    pub violation: Option<String>,
    /// What happened, line by line.
    pub trace: String,
    /// How much happened.
    pub counts: Counts,
    /// How long it took in the simulation.
    pub simulated: Duration,
}

/// Runs one seed on a thread of its own, where nothing is random. A process may do this once: Tokio numbers
/// tasks by process and drops those of a crashed node in an order that follows from the numbers.
///
/// # Panics
/// When it is called again.
pub fn run(seed: u64) -> Outcome {
    static RAN: AtomicBool = AtomicBool::new(false);
    assert!(
        !RAN.swap(true, Ordering::Relaxed),
        "a process runs one simulation"
    );
    let simulation = move || {
        entropy::seed_thread(seed);
        panics::catch();
        let world = World::new(Settings::from_seed(seed));
        let ran = catch_unwind(AssertUnwindSafe(|| simulate(&world)));
        if let Err(panic) = ran {
            world.fail(panics::first().unwrap_or_else(|| message(&*panic)));
        }
        Outcome {
            seed,
            violation: world.failure(),
            trace: world.with_trace(|trace| trace.text().to_owned()),
            counts: world.oracle.lock().counts().clone(),
            simulated: world.now(),
        }
    };
    let thread = thread::Builder::new()
        .name(format!("seed {seed}"))
        .stack_size(STACK_BYTES);
    let joined = thread
        .spawn(simulation)
        .expect("a thread can be started")
        .join();
    joined.unwrap_or_else(|panic| Outcome {
        seed,
        violation: Some(format!(
            "the simulation itself failed: {}",
            message(&*panic)
        )),
        trace: String::new(),
        counts: Counts::default(),
        simulated: Duration::ZERO,
    })
}

fn simulate(world: &Arc<World>) {
    let settings = &world.settings;
    world.log(format_args!("{settings:?}"));
    let mut sim = turmoil::Builder::new()
        .rng_seed(settings.seed)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .simulation_duration(Duration::from_secs(3_600))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(settings.message_latency_max)
        .fail_rate(settings.message_loss)
        .repair_rate(1.0)
        .tcp_capacity(4_096)
        .enable_random_order()
        .build();
    for (index, slot) in world.nodes.iter().enumerate() {
        let world = world.clone();
        sim.host(host_name(slot.id), move || node::run(world.clone(), index));
    }
    let of_clients = world.clone();
    sim.host("clients", move || clients::run(of_clients.clone()));
    drive(world, &mut sim);
    // Dropped while the panic hook still listens: tasks end here.
    drop(sim);
}

/// Steps until a promise is broken or everything is as it should be.
fn drive(world: &Arc<World>, sim: &mut Sim<'_>) {
    let mut nemesis = Nemesis::new(world.clone());
    let mut watcher = Watcher::new(world);
    for step in 0.. {
        if let Err(error) = sim.step() {
            world.fail(format!("a host ended: {error}"));
        }
        world.set_now(sim.elapsed());
        let due = nemesis.is_due(&watcher.leaders);
        if due || step % STEPS_PER_LOOK == 0 {
            watcher.look(world);
        }
        if due {
            nemesis.step(sim, watcher.leaders.clone());
        }
        if step % 1_000 == 0 {
            let (bytes, digest) = world.wire.digest();
            world.log(format_args!("{bytes} bytes sent, {digest:016x}"));
        }
        let faults_for = world.settings.faults_for;
        if sim.elapsed() >= faults_for && !world.is_finishing() {
            watcher.look(world);
            nemesis.heal(sim);
            world.finishing.store(true, Ordering::Relaxed);
        }
        if sim.elapsed() >= faults_for + REST_WITHIN {
            world.fail(format!("no rest: {}", world.waiting_for()));
        }
        if world.failure().is_some() {
            return;
        }
        if world.is_done() {
            return watcher.look_again(world);
        }
    }
}

/// Keeps the views and the invariants.
struct Watcher {
    views: Vec<NodeView>,
    invariants: Invariants,
    leaders: Vec<Option<(u64, u64)>>,
}

impl Watcher {
    fn new(world: &World) -> Watcher {
        Watcher {
            views: observer::unseen(world),
            invariants: Invariants::new(world.settings.shards),
            leaders: Vec::new(),
        }
    }

    fn look(&mut self, world: &World) {
        let looked = observer::look(world, &mut self.views);
        world.check(looked.and_then(|()| self.invariants.check(&self.views)));
        for view in self
            .views
            .iter()
            .filter(|view| view.is_up && !world.is_broken(view.node))
        {
            for (shard, replica) in view.shards.iter().enumerate() {
                if let Some(why) = &replica.stopped {
                    world.fail(format!("n{} stopped shard {shard}: {why}", view.node));
                }
            }
        }
        let replicas = self.views.iter_mut().flat_map(|view| &mut view.shards);
        let jumps = replicas
            .map(|replica| std::mem::take(&mut replica.log.jumps))
            .sum();
        world.oracle.lock().counts().add("snapshots", jumps);
        let leaders = self.invariants.leaders();
        if leaders != self.leaders {
            world.log(format_args!("leaders {leaders:?}"));
            self.leaders = leaders;
            world.oracle.lock().counts().add("elections", 1);
        }
    }

    /// Reads every log from its beginning once more, as a new process would.
    fn look_again(&mut self, world: &World) {
        for replica in self.views.iter_mut().flat_map(|view| &mut view.shards) {
            replica.log.forget();
        }
        self.look(world);
        let (bytes, digest) = world.wire.digest();
        world.log(format_args!(
            "{bytes} bytes sent, {digest:016x}: all is well"
        ));
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic".to_owned())
}
