//! MQTT with QoS 1 in sessions that stay, on three nodes that replicate and sync before PUBACK: 50 publishers to a
//! subscriber each, one to 500, and 50 to one.
//!
//! At least ten times the deliveries a second of NATS's MQTT, whose streams have three replicas too, point to point and
//! to 500; and at least those of mosquitto, which neither replicates nor syncs, where many publish to one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use highwater_e2e::{report::LoadReport, usage::Usage};
use serde_json::Value;
use tokio::task::JoinSet;

use super::turns;
use crate::{
    Scale, arrivals,
    door::Door,
    measure::Measured,
    mqtt::{Counts, Load, Session},
    progress,
    row::Row,
    service::{Owner, Service},
};

pub const NAME: &str = "qos-1";

const PAYLOAD_BYTES: usize = 128;
/// Unacknowledged messages of each publisher.
const IN_FLIGHT: usize = 64;
/// Sessions that are opened at once.
const OPENING: usize = 8;
/// How long a warm-up publishes.
const WARM_UP: f64 = 0.5;

const TURNS: [(Owner, Door); 3] = [
    (Owner::Highwater, Door::Mqtt),
    (Owner::Nats, Door::Mqtt),
    (Owner::Mosquitto, Door::Mqtt),
];

/// Who publishes to whom: clients share the topics evenly.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    publishers: usize,
    subscribers: usize,
    topics: usize,
    /// The rival that counts, and how much faster than it one must be.
    goal: (Owner, f64),
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "50 → 50, each its own",
        publishers: 50,
        subscribers: 50,
        topics: 50,
        goal: (Owner::Nats, 10.0),
    },
    Shape {
        name: "1 → 500",
        publishers: 1,
        subscribers: 500,
        topics: 1,
        goal: (Owner::Nats, 10.0),
    },
    Shape {
        name: "50 → 1",
        publishers: 50,
        subscribers: 1,
        topics: 1,
        goal: (Owner::Mosquitto, 1.0),
    },
];

/// What was reached in a turn. Its messages are deliveries.
struct Reached {
    owner: Owner,
    name: String,
    measured: Measured,
}

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for shape in SHAPES {
        let turn = async |owner, door| turn(owner, door, shape, scale.seconds).await;
        let rate = |reached: &Reached| reached.measured.load.rate();
        let all = turns::take(&TURNS, scale, turn, rate).await?;
        let (rival, factor) = shape.goal;
        let rival = all.iter().find(|reached| reached.owner == rival);
        for reached in &all {
            let workload = format!("QoS 1, {}", shape.name);
            let row = Row::of_load(&workload, &reached.name, &reached.measured, PAYLOAD_BYTES);
            let row = row.with_note("deliveries; times of PUBACK");
            rows.push(match rival {
                Some(rival) if reached.owner == Owner::Highwater => {
                    let goal = format!("≥ {factor} × {}'s {:.0}/s", rival.name, rate(rival));
                    row.with_goal(goal, rate(reached) >= factor * rate(rival))
                }
                _ => row,
            });
        }
    }
    Ok(rows)
}

async fn turn(owner: Owner, door: Door, shape: Shape, seconds: f64) -> Result<Reached> {
    let service = Service::start(owner, door).await?;
    let mut clients = Clients::open(&service, shape).await?;
    clients.publish(WARM_UP).await?;
    let before = Usage::of(&service.pids())?;
    let load = clients.publish(seconds).await?;
    let usage = Usage::of(&service.pids())? - before;
    let name = service.to_string();
    let each = usage.cpu_us / load.messages as f64;
    let rate = load.rate();
    progress(&format!(
        "{name}, {}: {rate:.0}/s at {each:.2} µs",
        shape.name
    ));
    Ok(Reached {
        owner,
        name,
        measured: Measured {
            load,
            usage,
            servers: service.pids().len(),
            json: Value::Null,
        },
    })
}

/// Everyone who is connected.
struct Clients {
    shape: Shape,
    counts: Arc<Counts>,
    publishers: Vec<Session>,
    subscribers: JoinSet<Result<()>>,
}

impl Clients {
    async fn open(service: &Service, shape: Shape) -> Result<Clients> {
        let peer = |number| (service.address(number), service.key());
        let subscribers = (0..shape.subscribers).map(|number| async move {
            let filter = shape.topic(number);
            // Not where its publisher is.
            Session::open(peer(number + 1), &format!("sub-{number}"), Some(&filter)).await
        });
        let publishers = (0..shape.publishers).map(|number| async move {
            Session::open(peer(number), &format!("pub-{number}"), None).await
        });
        let opened: Vec<Session> = stream::iter(subscribers)
            .buffer_unordered(OPENING)
            .try_collect()
            .await?;
        let publishers = stream::iter(publishers)
            .buffered(OPENING)
            .try_collect()
            .await?;
        let counts = Arc::new(Counts::default());
        let mut subscribers = JoinSet::new();
        for session in opened {
            let counts = counts.clone();
            subscribers.spawn(async move { session.count(&counts).await });
        }
        Ok(Clients {
            shape,
            counts,
            publishers,
            subscribers,
        })
    }

    /// Publishes for a while, until everything is acknowledged and has come.
    async fn publish(&mut self, seconds: f64) -> Result<LoadReport> {
        let shape = self.shape;
        let copies = (shape.subscribers / shape.topics) as u64;
        let from = self.counts.came.load(Ordering::Relaxed);
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(seconds);
        let mut publishing = JoinSet::new();
        for (number, mut session) in self.publishers.drain(..).enumerate() {
            let load = Load {
                topic: shape.topic(number),
                payload_bytes: PAYLOAD_BYTES,
                in_flight: IN_FLIGHT,
                undelivered_max: (2 * shape.publishers * IN_FLIGHT) as u64,
                copies,
            };
            let counts = self.counts.clone();
            publishing.spawn(async move {
                let latencies = session.publish(&load, &counts, end).await?;
                Ok::<_, anyhow::Error>((session, latencies))
            });
        }
        let mut acks = Histogram::<u64>::new(3)?;
        while let Some(published) = publishing.join_next().await {
            let (session, latencies) = published??;
            acks.add(latencies)?;
            self.publishers.push(session);
        }
        let due = self.counts.sent.load(Ordering::Relaxed) * copies;
        arrivals::all(&self.counts.came, due, &mut self.subscribers).await?;
        Ok(LoadReport {
            messages: due - from,
            ..LoadReport::new(&acks, start.elapsed())
        })
    }
}

impl Shape {
    /// The topic of the client with this number.
    fn topic(&self, number: usize) -> String {
        format!("qos-1/{}", number % self.topics)
    }
}
