//! One publisher to 1,000 subscribers of its topic, over each protocol that has connections of its own: deliveries a
//! second and server CPU for each, paced and in bursts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use highwater_e2e::{Cluster, client::request, cluster::Setup, usage::Usage};
use highwater_proto::client::PublishRequest;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    Scale,
    contender::highwater,
    door::{self, Door},
    row::Row,
};

pub const NAME: &str = "doors";

const SUBSCRIBERS: usize = 1_000;
const PAYLOAD_BYTES: usize = 128;
/// Is in no header, name or cursor.
const MARKER: u8 = b'~';
/// Messages a second at which 1,000 clients on the same cores can follow.
const RATE: f64 = 200.0;
/// Messages of one burst.
const BURST: usize = 100;

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for door in Door::ALL {
        let cluster = highwater(Setup::default()).await;
        let crowd = Crowd::open(&cluster, door).await?;
        for (name, messages) in [("paced", 1), ("bursts", BURST)] {
            rows.push(
                crowd
                    .measure(&cluster, (door, name), messages, scale.seconds)
                    .await?,
            );
        }
    }
    Ok(rows)
}

/// A message whose payload is seen as it is, in JSON too.
fn text(payload: &str) -> PublishRequest {
    let mut request = request("crowd", payload.to_owned(), "");
    if let Some(message) = &mut request.message {
        message.content_type = "text/plain".into();
    }
    request
}

/// Subscribers that count.
struct Crowd {
    came: Arc<AtomicU64>,
    _tasks: JoinSet<Result<()>>,
}

impl Crowd {
    async fn open(cluster: &Cluster, door: Door) -> Result<Crowd> {
        let opening = (0..SUBSCRIBERS).map(|number| {
            let address = cluster.address(number % cluster.size());
            door.subscribe(address, cluster.key(), "crowd")
        });
        let sockets: Vec<TcpStream> = stream::iter(opening)
            .buffer_unordered(64)
            .try_collect()
            .await?;
        let came = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for mut socket in sockets {
            let came = came.clone();
            tasks.spawn(async move {
                door::count(&mut socket, MARKER, |messages| {
                    came.fetch_add(messages, Ordering::Relaxed);
                })
                .await
            });
        }
        Ok(Crowd {
            came,
            _tasks: tasks,
        })
    }

    /// Publishes so many messages at once, again and again: when it is time for the next, or all of them have
    /// arrived.
    async fn measure(
        &self,
        cluster: &Cluster,
        (door, name): (Door, &str),
        messages: usize,
        seconds: f64,
    ) -> Result<Row> {
        let client = cluster.client(0);
        let payload = format!("{}{}", "x".repeat(PAYLOAD_BYTES - 1), char::from(MARKER));
        let pause = Duration::from_secs_f64(1.0 / RATE);
        let (before, from) = (
            Usage::of(&cluster.pids())?,
            self.came.load(Ordering::Relaxed),
        );
        let (start, mut sent) = (Instant::now(), 0u64);
        while start.elapsed().as_secs_f64() < seconds {
            let begun = Instant::now();
            let publishes = (0..messages).map(|_| text(&payload));
            client.publish_requests(publishes, messages).await?;
            sent += messages as u64;
            match messages {
                1 => tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await,
                _ => self.until(from + sent * SUBSCRIBERS as u64).await,
            }
        }
        self.until(from + sent * SUBSCRIBERS as u64).await;
        let took = start.elapsed().as_secs_f64();
        let used = Usage::of(&cluster.pids())? - before;
        let deliveries = (sent * SUBSCRIBERS as u64) as f64;
        let note = format!("deliveries; {:.2} µs CPU each", used.cpu_us / deliveries);
        let workload = format!("1 → {SUBSCRIBERS}, {}, {name}", door.name());
        Ok(Row {
            per_second: Some(deliveries / took),
            ..Row::note(&workload, "highwater", note)
        })
    }

    async fn until(&self, count: u64) {
        while self.came.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
