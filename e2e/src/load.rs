//! Publishers that go on through every fault, retry as the contract says, and note each ack.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater_proto::client::{PublishRequest, PublishResult};
use tokio::task::JoinSet;

use crate::{
    client::{Client, is_retryable, request},
    condition::{eventually, within_deadline},
    ledger::Ledger,
};

/// A node that has just failed is not asked again at once.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Some publishers, each sending one message after the other.
pub struct Load {
    publishers: JoinSet<Ledger>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
}

impl Load {
    /// Starts publishers on these topics, one or more on each. Every message has an idempotency key
    /// and is retried with it, on the next of the clients, until it is acknowledged.
    pub fn start(clients: &[Client], topics: &[&str], publishers: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let acked = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for index in 0..publishers {
            let publisher = Publisher {
                clients: clients.to_vec(),
                current: index % clients.len(),
                topic: topics[index % topics.len()].to_owned(),
                name: format!("p{index}"),
            };
            tasks.spawn(publisher.run(stop.clone(), acked.clone()));
        }
        Load {
            publishers: tasks,
            stop,
            acked,
        }
    }

    /// Acks so far.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Waits until so many more messages were acknowledged.
    pub async fn more_acks(&self, count: u64) {
        let goal = self.acked() + count;
        eventually("more messages are acknowledged", async || {
            self.acked() >= goal
        })
        .await;
    }

    /// Lets each publisher get its last ack, and returns all that was promised.
    ///
    /// # Panics
    /// When a publisher was refused for good.
    pub async fn finish(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledger = Ledger::default();
        while let Some(publisher) = self.publishers.join_next().await {
            ledger.merge(publisher.expect("a publisher does not fail"));
        }
        ledger
    }
}

struct Publisher {
    clients: Vec<Client>,
    current: usize,
    topic: String,
    name: String,
}

impl Publisher {
    async fn run(mut self, stop: Arc<AtomicBool>, acked: Arc<AtomicU64>) -> Ledger {
        let mut ledger = Ledger::default();
        for sequence in 0u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let payload = format!("{}#{sequence}", self.name);
            let publish = request(&self.topic, payload.clone(), &payload);
            let result = within_deadline("a message is acknowledged", self.insist(publish)).await;
            ledger.ack(payload, result);
            acked.fetch_add(1, Ordering::Relaxed);
        }
        ledger
    }
    /// Publishes until there is an ack, going on to the next node after each failure.
    async fn insist(&mut self, publish: PublishRequest) -> PublishResult {
        loop {
            let client = &self.clients[self.current % self.clients.len()];
            match client.publish_request(publish.clone()).await {
                Ok(result) => return result,
                Err(status) if is_retryable(&status) => {
                    self.current += 1;
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Err(status) => panic!("{} was refused: {status}", publish.idempotency_key),
            }
        }
    }
}
