//! Who takes part: Highwater and its rivals, each as three processes on loopback and a load to put on them.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use highwater_e2e::{Cluster, binary, cluster::Setup, process::Pid};

use crate::{Scale, measure::Measured, measure::measure, progress};

mod bound;
mod mosquitto;
mod nats;
mod nats_client;

pub use bound::Bound;
pub use mosquitto::Mosquitto;
pub use nats::Nats;
pub use nats_client::NatsClient;

/// The shape of a load.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Publishers, each with a stream or connection of its own.
    pub publishers: usize,
    /// Unacknowledged messages of each.
    pub in_flight: usize,
    /// Payload bytes.
    pub size: usize,
}

/// Servers that run, ready for load.
pub enum Contender {
    /// Three nodes of Highwater.
    Highwater(Cluster),
    /// The plain replicate-and-sync program.
    Bound(Bound),
    /// NATS JetStream.
    Nats(Nats),
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contender::Highwater(_) => f.write_str("highwater"),
            Contender::Bound(_) => f.write_str("bound"),
            Contender::Nats(nats) if nats.syncs_always => f.write_str("nats R3, sync always"),
            Contender::Nats(_) => f.write_str("nats R3, default"),
        }
    }
}

impl Contender {
    /// Starts everyone who can be had. Whoever cannot is left out, with the reason said.
    pub async fn start_all(scale: Scale) -> Vec<Contender> {
        let mut all = vec![Contender::Highwater(highwater(Setup::default()).await)];
        if !scale.with_rivals {
            return all;
        }
        match Bound::start() {
            Ok(bound) => all.push(Contender::Bound(bound)),
            Err(error) => progress(&format!("without the bound: {error:#}")),
        }
        for syncs_always in [false, true] {
            match Nats::start(syncs_always) {
                Ok(nats) => all.push(Contender::Nats(nats)),
                Err(error) => {
                    progress(&format!("without NATS: {error:#}"));
                    break;
                }
            }
        }
        all
    }

    fn pids(&self) -> Vec<Pid> {
        match self {
            Contender::Highwater(cluster) => cluster.pids(),
            Contender::Bound(bound) => bound.pids(),
            Contender::Nats(nats) => nats.pids(),
        }
    }

    fn load(&self, shape: Shape, seconds: f64) -> Command {
        match self {
            Contender::Highwater(cluster) => shaped(highwater_load(cluster, seconds), shape),
            Contender::Bound(bound) => shaped(bound.load(seconds), shape),
            Contender::Nats(nats) => shaped(nats.load(seconds), shape),
        }
    }

    /// Puts a load on it and measures it.
    ///
    /// # Errors
    /// When the load generator fails.
    pub async fn measure(&self, shape: Shape, seconds: f64) -> Result<Measured> {
        let measured = measure(&self.pids(), self.load(shape, seconds)).await;
        measured.with_context(|| self.to_string())
    }
}

fn shaped(mut load: Command, shape: Shape) -> Command {
    for (flag, number) in [
        ("--publishers", shape.publishers),
        ("--in-flight", shape.in_flight),
        ("--size", shape.size),
    ] {
        load.arg(flag).arg(number.to_string());
    }
    load
}

/// Highwater as it is set up when nobody says otherwise: 64 shards, a project on one of them.
pub async fn highwater(setup: Setup) -> Cluster {
    let setup = Setup {
        shards: 64,
        spread: 1,
        // A benchmark reports figures; what is logged does not decide about them.
        allowed_warnings: vec![""],
        ..setup
    };
    Cluster::start_with(setup).await
}

/// `highwater bench` on a cluster, without warm-up: what is measured is all that the servers do.
pub fn highwater_load(cluster: &Cluster, seconds: f64) -> Command {
    let mut load = Command::new(binary::highwater());
    load.args(["bench", "-o", "json", "--warmup", "0", "--duration"])
        .arg(seconds.to_string())
        .env("HIGHWATER_KEY", cluster.key());
    for node in 0..cluster.size() {
        load.arg("--server").arg(cluster.url(node, ""));
    }
    load
}

/// The folder of the rivals' sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/rivals")
}
