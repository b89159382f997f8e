//! The first start of a node, ended at each of its steps, and what a node does with data of another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater_cluster::{
    Blocking, Cluster, ClusterConfig, PeerAddress, Sizes, StartError, TcpTransport,
};
use highwater_proto::ids::NodeId;
use highwater_storage::{ClaimError, disk::fault::FaultDisk, kv::memory::MemoryKv};
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(60);

async fn start(
    disk: &Arc<FaultDisk>,
    kv: &Arc<MemoryKv>,
    change: impl Fn(&mut ClusterConfig),
) -> Result<Cluster, StartError> {
    static CLOCK_MS: AtomicU64 = AtomicU64::new(1_000);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut config = ClusterConfig {
        node: NodeId(1),
        name: "test".into(),
        members: vec![PeerAddress {
            id: NodeId(1),
            address,
        }],
        shards: 2,
        transport: TcpTransport::new(listener, None),
        log_disk: disk.clone(),
        kv: kv.clone(),
        clock: Arc::new(|| CLOCK_MS.fetch_add(1, Ordering::Relaxed)),
        on_usage: Arc::new(|_, _| ()),
        retention: Arc::new(|_, _| Default::default()),
        sizes: Sizes::default(),
        blocking: Blocking::Threads,
    };
    change(&mut config);
    Cluster::start(config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_ends_at_any_step_leaves_data_that_starts() {
    let mut ends_at = 0;
    loop {
        let (disk, kv) = (Arc::new(FaultDisk::new()), Arc::new(MemoryKv::default()));
        disk.cut_power_after(ends_at);
        let started = match start(&disk, &kv, |_| ()).await {
            Ok(cluster) => {
                // Ready, or the disk fails before.
                let mut failure = cluster.log().watch_failure();
                let started = tokio::select! {
                    ready = cluster.wait_ready(DEADLINE) => ready,
                    _ = failure.wait_for(Option::is_some) => false,
                };
                cluster.shutdown().await;
                started
            }
            Err(_) => false,
        };
        disk.crash(ends_at);
        kv.crash();
        let cluster = start(&disk, &kv, |_| ()).await.unwrap();
        assert!(cluster.wait_ready(DEADLINE).await, "{:?}", cluster.health());
        cluster.shutdown().await;
        if started {
            break;
        }
        ends_at += 1;
    }
    assert!(ends_at > 3, "it ended at {ends_at} steps only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_start_on_data_that_is_not_its_own() {
    let (disk, kv) = (Arc::new(FaultDisk::new()), Arc::new(MemoryKv::default()));
    start(&disk, &kv, |_| ()).await.unwrap().shutdown().await;
    let changes = disk.changes();
    let refused = async |change: fn(&mut ClusterConfig)| match start(&disk, &kv, change).await {
        Err(StartError::Claim(refused)) => refused,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started"),
    };
    let other = |config: &mut ClusterConfig| {
        config.node = NodeId(2);
        config.members[0].id = NodeId(2);
    };
    assert!(matches!(refused(other).await, ClaimError::Node { .. }));
    let shards = refused(|config| config.shards = 3).await;
    assert!(matches!(shards, ClaimError::Shards { .. }));
    let cluster = refused(|config| config.name = "other".into()).await;
    assert!(matches!(cluster, ClaimError::Cluster { .. }));
    assert_eq!(disk.changes(), changes, "nothing was touched");
    start(&disk, &kv, |_| ()).await.unwrap().shutdown().await;
}
