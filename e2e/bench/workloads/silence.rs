//! How long nobody gets an ack: publishers that send one message after the other, and the longest pause between acks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use highwater_e2e::{
    Client,
    client::{is_retryable, request},
    eventually,
};
use tokio::task::JoinSet;

/// Publishers of each kind of client; more than one, so that a request that waits does not hide the acks
/// of others.
const PUBLISHERS_EACH: usize = 4;
/// How long one attempt may take. Short: an attempt that hangs is no ack.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// Publishers that run.
pub struct Watch {
    publishers: JoinSet<(Vec<Instant>, u64)>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
}

/// What they saw.
pub struct Watched {
    /// The longest time between two acks of any of them, in milliseconds.
    pub longest_ms: f64,
    /// Attempts that were refused or went unanswered.
    pub errors: u64,
    /// How many publishers there were.
    pub publishers: usize,
}

impl Watch {
    /// Starts publishers. Each has the clients of one list, begins with the first of them and goes on to
    /// the next after an error.
    pub fn start(clients: impl Iterator<Item = Vec<Client>>, topic: &str) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let acked = Arc::new(AtomicU64::new(0));
        let mut publishers = JoinSet::new();
        for clients in clients {
            for _ in 0..PUBLISHERS_EACH {
                let (clients, topic) = (clients.clone(), topic.to_owned());
                publishers.spawn(publish(clients, topic, stop.clone(), acked.clone()));
            }
        }
        Watch {
            publishers,
            stop,
            acked,
        }
    }

    /// Waits until so many more messages were acknowledged.
    pub async fn more_acks(&self, count: u64) {
        let goal = self.acked.load(Ordering::Relaxed) + count;
        eventually("more messages are acknowledged", async || {
            self.acked.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Stops them.
    pub async fn finish(self) -> Watched {
        self.stop.store(true, Ordering::Relaxed);
        let publishers = self.publishers.len();
        let (times, errors): (Vec<_>, Vec<u64>) =
            self.publishers.join_all().await.into_iter().unzip();
        let mut times = times.concat();
        times.sort();
        let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = pauses.max().unwrap_or_default();
        Watched {
            longest_ms: longest.as_secs_f64() * 1e3,
            errors: errors.iter().sum(),
            publishers,
        }
    }
}

async fn publish(
    clients: Vec<Client>,
    topic: String,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
) -> (Vec<Instant>, u64) {
    let (mut acks, mut errors) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let client = &clients[errors as usize % clients.len()];
        let publish = client.publish_request(request(&topic, "x", ""));
        match tokio::time::timeout(ATTEMPT_TIMEOUT, publish).await {
            Ok(Ok(_)) => {
                acks.push(Instant::now());
                acked.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Ok(Err(status)) => assert!(is_retryable(&status), "refused: {status}"),
            Err(_) => {}
        }
        errors += 1;
        tokio::time::sleep(RETRY_AFTER).await;
    }
    (acks, errors)
}
