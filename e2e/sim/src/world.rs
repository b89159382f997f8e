//! What outlives the nodes: their disks, what clients know, the trace, and the first violation.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater_broker::{
    Broker,
    catalogue::{Catalogue, Policy, Project, Retention},
};
use highwater_cluster::{Cluster, PeerAddress};
use highwater_proto::{
    ids::{NodeId, ProjectId, ShardId, TenantId},
    names::{TopicFilter, TopicName},
};
use highwater_storage::kv::memory::MemoryKv;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    disk::SimDisk, journey::Journey, oracle::Oracle, settings::Settings, trace::Trace,
    transport::Wire,
};

/// Number of nodes.
pub const NODES: usize = 3;
/// Where nodes listen for each other.
pub const PORT: u16 = 9_000;
/// The secret all nodes share.
pub const SECRET: &[u8] = b"a secret of the simulation";
/// Records of one topic under `kept/` that stay; the rest is trimmed away.
pub const RECORDS_KEPT: u64 = 12;

/// Everything that is neither a node's process nor the network.
pub struct World {
    /// What the seed decided.
    pub settings: Settings,
    /// The nodes' slots.
    pub nodes: Vec<Slot>,
    /// The one project.
    pub project: Arc<Project>,
    /// What clients were promised.
    pub oracle: Mutex<Oracle>,
    /// What was sent between the nodes.
    pub wire: Arc<Wire>,
    /// What subscribers were given.
    pub journeys: Mutex<Vec<Journey>>,
    /// Set when faults are over and clients are to finish.
    pub finishing: AtomicBool,
    publishers_done: AtomicU64,
    done: AtomicBool,
    waiting_for: Mutex<String>,
    /// The simulated time of the last step, in microseconds, for those outside of a host.
    now_us: AtomicU64,
    trace: Mutex<Trace>,
    failure: Mutex<Option<String>>,
}

/// Where a node runs, or does not just now.
pub struct Slot {
    /// Its id.
    pub id: NodeId,
    /// Its disk.
    pub disk: Arc<SimDisk>,
    /// Its store.
    pub kv: Arc<MemoryKv>,
    /// Asks the process to stop in good order.
    pub stop: Notify,
    /// Whether the disk or the store was made to fail in this life: then it may refuse to work.
    pub broken: AtomicBool,
    /// Whether its last process stopped in good order: nobody saw the end of it.
    pub stopped_well: AtomicBool,
    lives: AtomicU64,
    running: Mutex<Option<Running>>,
}

/// A process that runs.
#[derive(Clone)]
pub struct Running {
    /// Counts the node's processes.
    pub life: u64,
    /// The cluster crate's side of it. Only the process itself keeps it alive.
    pub cluster: Weak<Cluster>,
    /// The broker's side.
    pub broker: Arc<Broker>,
    /// Closed when the process is gone.
    pub ended: watch::Receiver<()>,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new(settings: Settings) -> Arc<World> {
        let slot = |index: u64| Slot {
            id: NodeId(index + 1),
            disk: SimDisk::new(settings.seed ^ (index << 32), settings.sync_latency_max),
            kv: Arc::default(),
            stop: Notify::new(),
            broken: AtomicBool::new(false),
            stopped_well: AtomicBool::new(false),
            lives: AtomicU64::new(0),
            running: Mutex::new(None),
        };
        let nodes: Vec<Slot> = (0..NODES as u64).map(slot).collect();
        for node in &nodes {
            node.disk.faults.flip_unsynced_bits(settings.flips);
        }
        let project = Arc::new(project(settings.shards));
        Arc::new(World {
            nodes,
            project,
            oracle: Mutex::default(),
            wire: Arc::default(),
            journeys: Mutex::default(),
            finishing: AtomicBool::new(false),
            publishers_done: AtomicU64::new(0),
            done: AtomicBool::new(false),
            waiting_for: Mutex::default(),
            now_us: AtomicU64::new(0),
            trace: Mutex::default(),
            failure: Mutex::new(None),
            settings,
        })
    }

    /// The simulated time: exact inside a host, that of the last step outside.
    pub fn now(&self) -> Duration {
        let outside = || Duration::from_micros(self.now_us.load(Ordering::Relaxed));
        turmoil::sim_elapsed().unwrap_or_else(outside)
    }

    /// Tells those outside of a host what time it is.
    pub fn set_now(&self, now: Duration) {
        self.now_us.store(now.as_micros() as u64, Ordering::Relaxed);
    }

    /// Writes a line into the trace.
    pub fn log(&self, what: std::fmt::Arguments<'_>) {
        self.trace.lock().line(self.now(), what);
    }

    /// Looks at the trace.
    pub fn with_trace<T>(&self, look: impl FnOnce(&Trace) -> T) -> T {
        look(&self.trace.lock())
    }

    /// Something is not as it was promised. The first such sentence ends the simulation.
    pub fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        self.log(format_args!("VIOLATION {what}"));
        self.failure.lock().get_or_insert(what);
    }

    /// Reports a violation, if it is one.
    pub fn check(&self, result: Result<(), String>) {
        if let Err(what) = result {
            self.fail(what);
        }
    }

    /// The first violation.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Whether clients are to finish.
    pub fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    /// A publisher has finished.
    pub fn publisher_done(&self) {
        self.publishers_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Publishers that have not finished.
    pub fn publishers_left(&self) -> u64 {
        u64::from(self.settings.publishers) - self.publishers_done.load(Ordering::Relaxed)
    }

    /// Everything is as it was promised.
    pub fn set_done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Whether everything is as it was promised, and the simulation can end.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// What the end is waiting for.
    pub fn set_waiting_for(&self, what: String) {
        *self.waiting_for.lock() = what;
    }

    /// What the end is waiting for.
    pub fn waiting_for(&self) -> String {
        self.waiting_for.lock().clone()
    }

    /// Whether a node's disk or store was made to fail in its present life.
    pub fn is_broken(&self, node: u64) -> bool {
        self.nodes[node as usize - 1].broken.load(Ordering::Relaxed)
    }

    /// All nodes as members of the cluster.
    pub fn members(&self) -> Vec<PeerAddress> {
        let member = |slot: &Slot| PeerAddress {
            id: slot.id,
            address: format!("{}:{PORT}", host_name(slot.id)),
        };
        self.nodes.iter().map(member).collect()
    }
}

impl Slot {
    /// A process begins. Returns its number and what keeps it known as running until it is dropped.
    pub fn begin(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The process serves from now on.
    pub fn serve(&self, running: Running) {
        *self.running.lock() = Some(running);
    }

    /// The process serves no longer.
    pub fn end(&self) {
        *self.running.lock() = None;
    }

    /// The process, if it serves.
    pub fn running(&self) -> Option<Running> {
        self.running.lock().clone()
    }
}

/// The name of a node's host in the network.
pub fn host_name(node: NodeId) -> String {
    format!("n{node}")
}

/// The topics clients use. Those under `kept/` keep only their newest records.
pub fn topics() -> Vec<TopicName> {
    let names = ["a/one", "a/two", "b/one", "b/two", "c", "kept/one"];
    let topic = |name| TopicName::try_from(name).expect("a valid name");
    names.into_iter().map(topic).collect()
}

/// The catalogue every node has.
pub fn catalogue(project: &Project) -> Catalogue {
    Catalogue::new([project.clone()], [])
}

fn project(shards: u32) -> Project {
    let shards = (0..shards).map(ShardId).collect();
    let id = ProjectId::from_bytes([7; 16]);
    let mut project = Project::new(id, TenantId::from_bytes([8; 16]), "sim", shards);
    let kept = TopicFilter::try_from("kept/#").expect("a valid filter");
    let policy = Policy {
        retention: Retention {
            records: Some(RECORDS_KEPT),
            ..Retention::default()
        },
        ..Policy::default()
    };
    project.policies.push((kept, policy));
    project
}
