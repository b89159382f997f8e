//! Metrics that only the node can put together: what lies on disk and in memory, and the process itself.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use highwater_cluster::Cluster;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::process;

/// Adds them.
pub fn register(registry: &mut Registry, cluster: &Arc<Cluster>) {
    process::register_metrics(registry);
    registry.register_collector(Box::new(Storage(Arc::downgrade(cluster))));
}

/// What the log and the store say of themselves, asked at each scrape.
struct Storage(Weak<Cluster>);

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage")
    }
}

impl Collector for Storage {
    #[rustfmt::skip]
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(cluster) = self.0.upgrade() else {
            return Ok(());
        };
        let (log, store) = (cluster.log().usage(), cluster.store().usage());
        counter(&mut to, "log_syncs", "syncs of the log's data", log.syncs)?;
        counter(&mut to, "log_written_bytes", "bytes written to the log", log.written_bytes)?;
        counter(&mut to, "log_payload_bytes", "bytes of entries among them", log.payload_bytes)?;
        counter(&mut to, "log_batches", "batches written to the log", log.batches)?;
        counter(&mut to, "log_entries", "entries written to the log", log.entries)?;
        gauge(&mut to, "log_disk_bytes", "size of the log's files", log.disk_bytes)?;
        gauge(&mut to, "log_cache_bytes", "entries of the log in memory", log.cache_bytes)?;
        counter(&mut to, "store_checkpoint_written_bytes", "bytes that checkpoints wrote", store.checkpoint_bytes_total)?;
        counter(&mut to, "store_read_bytes", "bytes of blocks that were read", store.bytes_read_total)?;
        gauge(&mut to, "store_disk_bytes", "size of the store's files", store.kv.disk_bytes)?;
        gauge(&mut to, "store_cache_bytes", "blocks of the store in memory", store.kv.cache_bytes)?;
        gauge(&mut to, "store_pending_bytes", "applied records that wait for a checkpoint", store.pending_bytes)?;
        gauge(&mut to, "topics", "topics of all shards", store.topics)?;
        let health = cluster.health();
        let led = health.shards.iter().filter(|s| s.is_leader).count();
        gauge(&mut to, "shards_led", "shards that this node leads", led as u64)?;
        let leaderless = health.shards.iter().filter(|s| s.leader.is_none()).count();
        gauge(&mut to, "shards_leaderless", "shards whose leader this node does not know", leaderless as u64)?;
        gauge(&mut to, "storage_failed", "1 when writing has stopped on this node", u64::from(health.storage_failure.is_some()))
    }
}

fn counter(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    let name = format!("highwater_{name}");
    counter.encode(to.encode_descriptor(&name, help, None, counter.metric_type())?)
}

fn gauge(to: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let name = format!("highwater_{name}");
    gauge.encode(to.encode_descriptor(&name, help, None, gauge.metric_type())?)
}
