//! The nodes of the cluster, as far as what they serve concerns others: which of them are gone, and when each was
//! started.
//!
//! A connection ends with its node, and nobody is there to say so. Two things tell it: most of the cluster has
//! lost the node, or the node has been started again, which each says in a record of the system's project.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use highwater_broker::{
    Broker, Result,
    group::Home,
    handle::{Retain, interrupted},
    system,
};
use highwater_proto::{ids::NodeId, names::TopicName};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How often the other nodes are looked at.
pub const LOOK: Duration = Duration::from_secs(1);
/// How long a node has to be gone before its clients are taken for lost.
const GONE_AFTER: Duration = Duration::from_secs(3);

/// Asks whether most nodes of the cluster have lost another one.
pub type IsLost = Arc<dyn Fn(NodeId) -> BoxFuture<'static, bool> + Send + Sync>;

/// The other nodes of the cluster, and how to find out about them.
pub struct Peers {
    nodes: Vec<NodeId>,
    is_lost: IsLost,
}

impl Peers {
    /// The other nodes.
    pub fn new(nodes: Vec<NodeId>, is_lost: IsLost) -> Peers {
        Peers { nodes, is_lost }
    }
}

/// What is known of all nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    gone: HashMap<u64, Instant>,
    started_at_ms: HashMap<u64, u64>,
}

impl Nodes {
    /// Whether nothing is left of what a node served from one of its starts on.
    pub fn has_lost(&self, home: Home) -> bool {
        let state = self.state.lock();
        let is_gone = state
            .gone
            .get(&home.node)
            .is_some_and(|since| since.elapsed() >= GONE_AFTER);
        let newest = state.started_at_ms.get(&home.node);
        is_gone || newest.is_some_and(|newest| *newest > home.started_at_ms)
    }

    /// A node was started.
    pub fn on_started(&self, home: Home) {
        let mut state = self.state.lock();
        let newest = state.started_at_ms.entry(home.node).or_default();
        *newest = home.started_at_ms.max(*newest);
    }

    /// Looks at the others. Returns those that have been gone for long enough since the last look.
    pub async fn look(&self, peers: &Peers) -> HashSet<u64> {
        let asked = peers
            .nodes
            .iter()
            .map(|node| async { (node.0, (peers.is_lost)(*node).await) });
        let answers = join_all(asked).await;
        let now = Instant::now();
        let mut state = self.state.lock();
        let mut lost = HashSet::new();
        for (node, is_lost) in answers {
            if !is_lost {
                state.gone.remove(&node);
                continue;
            }
            let gone_for = now - *state.gone.entry(node).or_insert(now);
            // Twice: what it served may be written by it in its last moment.
            if gone_for >= GONE_AFTER && gone_for < GONE_AFTER + LOOK * 2 {
                lost.insert(node);
            }
        }
        lost
    }
}

/// Tells all nodes that this one was started.
///
/// # Errors
/// Those of a publish.
pub async fn tell_start(broker: &Broker, home: Home) -> Result<()> {
    let topic = format!("{}{}", system::NODES, home.node);
    let topic = TopicName::try_from(topic.as_str()).expect("a name of our own");
    let shard = broker.shard_of(broker.system(), &topic).clone();
    let payload = home.started_at_ms.to_string().into_bytes();
    let publish = system::publish(broker.system(), topic, payload, Retain::Set);
    let written = shard.append(vec![publish]).await?.pop();
    written.map(drop).ok_or_else(interrupted)
}

/// Reads what [`tell_start`] has written to a topic.
pub fn read_start(topic: &str, message: &bytes::Bytes) -> Option<Home> {
    let node = topic.strip_prefix(system::NODES)?.parse().ok()?;
    let payload = system::payload(message)?;
    let started_at_ms = std::str::from_utf8(&payload).ok()?.parse().ok()?;
    Some(Home {
        node,
        started_at_ms,
    })
}
