//! What every pair of a publishing and a subscribing protocol carries is what the table says.

mod binary_socket;
mod publish;
mod subscribe;
mod table;

use highwater_e2e::Cluster;
use highwater_proto::client::Record;

use self::{
    publish::Publisher,
    subscribe::Subscriber,
    table::{In, Out, ROWS},
};

/// `UPDATE_EXPECT=1 cargo test -p highwater-e2e --test protocols` writes the page anew.
#[test]
fn the_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/PROTOCOLS.md");
    let page = table::page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_in_one_protocol_is_told_in_every_other() {
    let cluster = Cluster::start().await;
    let mut subscribers = Subscriber::all(&cluster, "parity/#").await;
    for (number, publisher) in Publisher::ALL.into_iter().enumerate() {
        for sample in table::samples() {
            let mut said = Record::default();
            for row in ROWS.iter().filter(|row| row.is_said(publisher.words())) {
                (row.copy)(&sample, &mut said);
            }
            said.topic = format!("parity/{number}");
            publisher
                .publish(&cluster, number % cluster.size(), &said)
                .await;
            if publisher.words() == In::Headers {
                said.headers.sort_by(|a, b| a.name.cmp(&b.name));
            }
            // gRPC is told everything there is.
            let stored = cluster.client(0).read(&said.topic, "last:1", 1).await;
            let stored = stored.unwrap().records.remove(0);
            for subscriber in &mut subscribers {
                let mut told = normal(subscriber.next().await, publisher, subscriber, &stored);
                let mut expected = Record::default();
                for row in ROWS.iter().filter(|row| row.is_told(subscriber.words())) {
                    let from = if row.is_of_server() { &stored } else { &said };
                    (row.copy)(from, &mut expected);
                }
                // The cursor of a filter is another one than that of its topic.
                assert_eq!(told.cursor.is_empty(), expected.cursor.is_empty());
                told.cursor.clone_from(&expected.cursor);
                assert_eq!(
                    told,
                    expected,
                    "from {publisher:?} to {}",
                    subscriber.name()
                );
            }
        }
    }
}

/// What is told, without what only brokers of MQTT have a use for, and as far as protocols may differ.
fn normal(
    mut told: Record,
    publisher: Publisher,
    subscriber: &Subscriber,
    stored: &Record,
) -> Record {
    told.origin.clear();
    told.qos_plus_one = 0;
    if publisher.words() == In::Headers {
        told.headers.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let left_ms = stored.ttl_ms.saturating_sub(told.ttl_ms);
    if subscriber.words() == Out::Mqtt5 && left_ms < 60_000 {
        told.ttl_ms = stored.ttl_ms;
    }
    told
}
