//! What clients do. They run beside the nodes and outlive them; what they call is a node's broker.

pub mod auditor;
pub mod publisher;
pub mod reader;
pub mod subscriber;

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time;

use crate::world::{Running, World};

/// Longer than anything the cluster waits for on its own.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client waits before it looks for a node again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What every client has.
pub struct Client {
    /// Its name in the trace.
    pub name: String,
    /// Its own randomness.
    pub random: SmallRng,
    /// Where it lives.
    pub world: Arc<World>,
    /// The node it prefers.
    node: usize,
}

/// Runs all clients for as long as the simulation lasts.
pub async fn run(world: Arc<World>) -> turmoil::Result {
    let client = |kind: &str, number: u32| {
        let name = format!("{kind}{number}");
        let seed = world.settings.seed ^ crate::message::digest(name.as_bytes());
        Client {
            random: SmallRng::seed_from_u64(seed),
            node: number as usize % world.nodes.len(),
            world: world.clone(),
            name,
        }
    };
    for number in 0..world.settings.publishers {
        tokio::task::spawn_local(publisher::run(client("p", number), number));
    }
    for number in 0..world.settings.subscribers {
        tokio::task::spawn_local(subscriber::run(client("s", number)));
    }
    for number in 0..world.settings.readers {
        tokio::task::spawn_local(reader::run(client("r", number)));
    }
    tokio::task::spawn_local(auditor::run(world));
    std::future::pending().await
}

impl Client {
    /// A node that serves: the preferred one most of the time.
    pub async fn node(&mut self) -> (usize, Running) {
        loop {
            if self.random.random_ratio(1, 10) {
                self.hop();
            }
            if let Some(running) = self.world.nodes[self.node].running() {
                return (self.node + 1, running);
            }
            self.hop();
            time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Prefers another node from now on.
    pub fn hop(&mut self) {
        self.node = self.random.random_range(0..self.world.nodes.len());
    }

    /// Writes a line into the trace.
    pub fn log(&self, what: std::fmt::Arguments<'_>) {
        self.world.log(format_args!("{} {what}", self.name));
    }

    /// Waits a random time.
    pub async fn pause(&mut self, at_most: Duration) {
        time::sleep(at_most.mul_f64(self.random.random())).await;
    }
}
