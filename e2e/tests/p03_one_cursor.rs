//! P3: a cursor is the same string on every protocol and node; hopping between them loses and repeats nothing.

use highwater_e2e::{Cluster, condition::within_deadline, ledger::text};
use serde_json::Value;

const MESSAGES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_hops_between_protocols_and_nodes_reads_each_record_once() {
    check_hops("hop/one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_reader_of_a_filter_over_many_topics() {
    check_hops("hop/#").await;
}

async fn check_hops(filter: &str) {
    let cluster = Cluster::start().await;
    let topics: &[&str] = match filter.contains('#') {
        true => &["hop/one", "hop/two", "hop/three", "hop"],
        false => &["hop/one"],
    };
    let mut expected = Vec::new();
    for number in 0..MESSAGES {
        let topic = topics[number % topics.len()];
        let payload = format!("p#{number}");
        cluster
            .client(number % 3)
            .publish(topic, payload.clone())
            .await
            .unwrap();
        expected.push(payload);
    }

    let mut seen: Vec<String> = Vec::new();
    let mut from = "earliest".to_owned();
    for hop in 0.. {
        if seen.len() >= MESSAGES {
            break;
        }
        assert!(hop < MESSAGES, "every hop finds something");
        let node = hop % 3;
        let take = 1 + hop % 7;
        let cursor = match hop % 4 {
            0 => {
                let page = cluster
                    .client(node)
                    .read(filter, &from, take as u32)
                    .await
                    .unwrap();
                seen.extend(page.records.iter().map(|record| text(record).to_owned()));
                page.next
            }
            1 => {
                let url = http_page(filter, &from, take);
                let page: Value = cluster.get_json(node, &url).await;
                let records = page["records"].as_array().unwrap();
                seen.extend(
                    records
                        .iter()
                        .map(|r| r["data"].as_str().unwrap().to_owned()),
                );
                page["next"].as_str().unwrap().to_owned()
            }
            2 => {
                // Stopped in the middle of what it was sent: the cursor of a record is enough.
                let mut live = cluster
                    .client(node)
                    .subscribe(&[filter], &from)
                    .await
                    .unwrap();
                let records = within_deadline("records are delivered", live.records(1)).await;
                let records = records.unwrap();
                let kept = &records[..take.min(records.len())];
                seen.extend(kept.iter().map(|record| text(record).to_owned()));
                kept.last().unwrap().cursor.clone()
            }
            _ => {
                // The receipt's cursor, with nothing read.
                let live = cluster
                    .client(node)
                    .subscribe(&[filter], &from)
                    .await
                    .unwrap();
                live.cursor
            }
        };
        from = format!("cursor:{cursor}");
    }

    if topics.len() > 1 {
        // Over several shards the order holds in each topic; as a whole it is the set that counts.
        seen.sort();
        expected.sort();
    }
    assert_eq!(seen, expected);
}

fn http_page(filter: &str, from: &str, limit: usize) -> String {
    match filter.contains('#') {
        true => {
            let filter = filter.replace('/', "%2F").replace('#', "%23");
            format!("/v1/messages?topic={filter}&from={from}&limit={limit}")
        }
        false => format!("/v1/messages/{filter}?from={from}&limit={limit}"),
    }
}
