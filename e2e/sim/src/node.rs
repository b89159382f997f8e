//! A node's process: the cluster crate as it is, over the simulated disk and network.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use highwater_broker::Broker;
use highwater_cluster::{Blocking, Cluster, ClusterConfig, StartError};
use highwater_storage::log::LogError;
use tokio::sync::watch;

use crate::{
    transport::SimTransport,
    world::{PORT, Running, SECRET, Slot, World, catalogue},
};

/// How long a graceful stop waits for others to take over.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Runs a node until it is told to stop or the host crashes.
pub async fn run(world: Arc<World>, index: usize) -> turmoil::Result {
    let slot = &world.nodes[index];
    let life = slot.begin();
    world.oracle.lock().counts().add("starts", 1);
    let _gone = Gone(&world, index);
    world.log(format_args!("n{} starts, life {life}", slot.id));
    let transport = SimTransport::bind(PORT, world.wire.clone()).await?;
    let cluster = match Cluster::start(config(&world, slot, transport)).await {
        Ok(cluster) => Arc::new(cluster),
        Err(error) => {
            on_start_error(&world, slot, &error);
            // As a supervisor would see it: it has failed, and somebody starts it again.
            return std::future::pending().await;
        }
    };
    let broker = Broker::new(
        SECRET,
        catalogue(&world.project),
        cluster.handles(),
        cluster.meta(),
    );
    let (_alive, ended) = watch::channel(());
    slot.stopped_well.store(false, Ordering::Relaxed);
    slot.serve(Running {
        life,
        cluster: Arc::downgrade(&cluster),
        broker: Arc::new(broker),
        ended,
    });
    slot.stop.notified().await;
    world.log(format_args!("n{} hands over", slot.id));
    let left = cluster.hand_over(HAND_OVER).await;
    slot.stopped_well.store(true, Ordering::Relaxed);
    slot.end();
    world.log(format_args!("n{} stops, leads {left}", slot.id));
    let cluster = Arc::try_unwrap(cluster).map_err(|_| "the cluster is held elsewhere")?;
    cluster.shutdown().await;
    Ok(())
}

/// However the process ends, it serves no longer.
struct Gone<'a>(&'a World, usize);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.nodes[self.1].end();
    }
}

fn config(world: &World, slot: &Slot, transport: Arc<SimTransport>) -> ClusterConfig {
    let settings = &world.settings;
    let skew = Duration::from_millis(settings.clock_skew_ms[slot.id.0 as usize - 1]);
    let project = world.project.clone();
    ClusterConfig {
        node: slot.id,
        name: "sim".to_owned(),
        members: world.members(),
        shards: settings.shards,
        transport,
        log_disk: slot.disk.clone(),
        kv: slot.kv.clone(),
        clock: Arc::new(move || {
            let now = turmoil::since_epoch().expect("nodes run in the simulation");
            (now + skew).as_millis() as u64
        }),
        on_usage: Arc::new(|_, _| ()),
        retention: Arc::new(move |_, topic| project.policy(topic).retention),
        sizes: settings.sizes(slot.id.0),
        blocking: Blocking::Inline,
    }
}

/// A crash of a disk that works must never keep a node from starting.
fn on_start_error(world: &World, slot: &Slot, error: &StartError) {
    let broken = slot.broken.load(Ordering::Relaxed);
    let corrupted = matches!(error, StartError::Log(LogError::Corrupted { .. }));
    match broken && !corrupted {
        true => world.log(format_args!("n{} cannot start: {error}", slot.id)),
        false => world.fail(format!("n{} cannot start: {error}", slot.id)),
    }
}
