//! A bit that flips on one replica's disk: repaired from the others or refused, never served.

use std::{fs, path::Path};

use highwater_e2e::{Cluster, cluster::Setup, eventually};

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

async fn check(restart_first: bool) {
    let setup = Setup {
        // What is found on the disk is worth an error.
        allowed_warnings: vec![""],
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(setup).await;
    for number in 0..RECORDS {
        let client = cluster.client(number % 3);
        client.publish("bits", payload(number)).await.unwrap();
    }
    // The replica has it all: what it serves now is what it will have lost.
    let (records, _) = cluster
        .client(1)
        .read_all("bits", "earliest")
        .await
        .unwrap();
    assert_eq!(records.len(), RECORDS);
    if restart_first {
        // A stop in order moves records from the log to where they stay.
        cluster.stop(1).await;
    } else {
        cluster.kill(1).await;
    }
    let middle = payload(RECORDS / 2);
    let flipped = flip(cluster.data_dir(1), &middle.as_bytes()[..48]);
    assert!(flipped > 0, "the payload is nowhere on the disk");

    cluster.start_node(1);
    let pid = cluster.pid(1);
    eventually("the node is ready or has refused to start", async || {
        pid.has_ended() || cluster.is_ready(1).await
    })
    .await;
    if !pid.has_ended() {
        for _ in 0..5 {
            // Refused is as good as repaired; what is served is right.
            let Ok(page) = cluster.client(1).read("bits", "earliest", 10_000).await else {
                continue;
            };
            for record in &page.records {
                let expected = payload(record.offset as usize);
                assert_eq!(record.payload, expected, "offset {}", record.offset);
            }
            assert_eq!(page.records[0].offset, 0, "nothing is skipped in silence");
        }
    }
    for node in [0, 2] {
        let (records, _) = cluster
            .client(node)
            .read_all("bits", "earliest")
            .await
            .unwrap();
        assert_eq!(records.len(), RECORDS);
        for record in &records {
            assert_eq!(record.payload, payload(record.offset as usize));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_log_of_a_killed_node_is_never_served() {
    check(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_store_of_a_stopped_node_is_never_served() {
    check(true).await;
}
