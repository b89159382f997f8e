//! A bit that flips on one replica's disk is found by its checksum, refused by name, and never served.
//!
//! It is not repaired: a node whose log is damaged does not start, and says which file it is; one whose
//! store is damaged answers reads of that place with `corrupted`, and clients go on at another node.

use std::{fs, path::Path};

use highwater_e2e::{Cluster, cli::Cli, cluster::Setup, eventually};
use highwater_proto::ErrorCode;

const RECORDS: usize = 500;

/// A payload that does not compress, so that its bytes are on the disk as they are.
fn payload(number: usize) -> String {
    blake3::hash(&number.to_le_bytes()).to_hex().repeat(8)
}

/// Flips one bit in every stored copy of some bytes, and returns how many there were.
fn flip(folder: &Path, bytes: &[u8]) -> usize {
    let mut flipped = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flipped += flip(&path, bytes);
            continue;
        }
        let mut content = fs::read(&path).unwrap();
        let mut copies = 0;
        let mut at = 0;
        while let Some(found) = content[at..].windows(bytes.len()).position(|w| w == bytes) {
            at += found;
            content[at + bytes.len() / 2] ^= 0b0000_0100;
            copies += 1;
        }
        if copies > 0 {
            fs::write(&path, content).unwrap();
        }
        flipped += copies;
    }
    flipped
}

/// A cluster with records, all of which the second node has.
async fn with_records() -> Cluster {
    let setup = Setup {
        // What is found on the disk is worth an error.
        allowed_warnings: vec![""],
        ..Setup::default()
    };
    let cluster = Cluster::start_with(setup).await;
    for number in 0..RECORDS {
        let client = cluster.client(number % 3);
        client.publish("bits", payload(number)).await.unwrap();
    }
    check_reads(&cluster, 1).await;
    cluster
}

/// Flips a bit of a record in the middle, in one of the folders of the second node's data.
fn damage(cluster: &Cluster, folder: &str) {
    let middle = payload(RECORDS / 2);
    let folder = cluster.data_dir(1).join(folder);
    let flipped = flip(&folder, &middle.as_bytes()[..48]);
    assert!(flipped > 0, "the payload is nowhere in {folder:?}");
}

/// A node has all records as they were published.
async fn check_reads(cluster: &Cluster, node: usize) {
    let client = cluster.client(node);
    let (records, gaps) = client.read_all("bits", "earliest").await.unwrap();
    assert_eq!(gaps, []);
    assert_eq!(records.len(), RECORDS);
    for record in &records {
        assert_eq!(record.payload, payload(record.offset as usize));
    }
}

/// The second node does not start on its damaged log, names the file, and nobody misses anything.
async fn check_refuses_to_start(cluster: &mut Cluster) {
    let before = cluster.log(1).len();
    cluster.start_node(1);
    let pid = cluster.pid(1);
    eventually("the node has refused to start", async || {
        assert!(!cluster.is_ready(1).await, "it serves from a damaged log");
        pid.has_ended()
    })
    .await;
    let said = cluster.log(1).split_off(before);
    assert!(said.contains("cannot open the log: log file "), "{said}");
    assert!(said.contains(" is corrupted at byte "), "{said}");
    for node in [0, 2] {
        check_reads(cluster, node).await;
        cluster.client(node).publish("others", "x").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_killed_does_not_start_on_a_damaged_log() {
    let mut cluster = with_records().await;
    cluster.kill(1).await;
    damage(&cluster, "log");
    check_refuses_to_start(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_does_not_start_on_a_damaged_log() {
    let mut cluster = with_records().await;
    cluster.stop(1).await;
    damage(&cluster, "log");
    check_refuses_to_start(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_of_the_store_is_refused_by_its_replica_and_served_by_the_others() {
    let mut cluster = with_records().await;
    // A stop in order moves records from memory to the store.
    cluster.stop(1).await;
    damage(&cluster, "store");
    cluster.restart(1).await;

    // Asked of this replica, in every way: an error by its name, and nothing before it is wrong.
    let refused = cluster.client(1).read("bits", "earliest", 10_000).await;
    let Err(status) = refused else {
        // A page may end before what cannot be read; the next one begins there.
        panic!("a page over a damaged record was served: {refused:?}");
    };
    assert_eq!(status.code() as i32, ErrorCode::Corrupted.grpc_code());
    let last = RECORDS - RECORDS / 2 + 1;
    let over_http = cluster
        .http()
        .get(cluster.url(1, &format!("/v1/messages/bits?from=last:{last}")))
        .bearer_auth(cluster.key());
    let answer = over_http.send().await.unwrap();
    assert_eq!(answer.status(), ErrorCode::Corrupted.http_status());
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], ErrorCode::Corrupted.name());
    assert_eq!(problem["retryable"], true);

    // Others have it, and who tries again elsewhere, as told, gets it.
    for node in [0, 2] {
        check_reads(&cluster, node).await;
    }
    let cli = Cli {
        servers: format!("{},{}", cluster.url(1, ""), cluster.url(2, "")),
        key: cluster.key().to_owned(),
        folder: cluster.folder().to_owned(),
    };
    let read = cli.json(&["read", "bits", "--limit", "10000"]).await;
    assert_eq!(read.len(), RECORDS + 1, "all records and the next cursor");

    // What is whole is served by this replica as before, and it still takes part.
    let newer = cluster.client(1).publish("bits", payload(RECORDS)).await;
    assert_eq!(newer.unwrap().offset, RECORDS as u64);
    let page = cluster.client(1).read("bits", "last:1", 10).await.unwrap();
    assert_eq!(page.records[0].payload, payload(RECORDS));
}
