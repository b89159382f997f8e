//! One publisher to 1,000 and to 10,000 subscribers of its topic, over each protocol that has connections of its own,
//! in turns with rivals: deliveries a second in bursts, and server CPU for each delivery, paced too.
//!
//! Every message is replicated and synced first. In bursts, at least as many deliveries a second as NATS makes in
//! WebSockets and mosquitto in MQTT, who do neither, and three times as many as push consumers of a stream of NATS with
//! three replicas. At most half of NATS's and mosquitto's CPU, in bursts and paced.

use anyhow::Result;

use super::turns;
use crate::{
    Scale,
    crowd::{Crowd, Deliveries, Pace},
    door::Door,
    progress,
    row::Row,
    service::{Owner, Service},
};

pub const NAME: &str = "doors";

const PAYLOAD_BYTES: usize = 128;
/// Deliveries a second that all contenders can make one message at a time, with the clients on the same cores.
const PACED: f64 = 50_000.0;
/// Messages of one burst.
const BURST: usize = 100;

/// Who takes turns.
const TURNS: [(Owner, Door); 6] = [
    (Owner::Highwater, Door::Mqtt),
    (Owner::Highwater, Door::WebSocket),
    (Owner::Highwater, Door::Sse),
    (Owner::Mosquitto, Door::Mqtt),
    (Owner::Nats, Door::NatsWebSocket),
    (Owner::Nats, Door::JetStream),
];

/// What was reached in a turn.
struct Reached {
    owner: Owner,
    door: Door,
    name: String,
    paced: Deliveries,
    bursts: Deliveries,
}

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for subscribers in [1_000, 10_000] {
        let turn = async |owner, door| turn(owner, door, subscribers, scale.seconds).await;
        let rate = |reached: &Reached| reached.bursts.per_second;
        let all = turns::take(&TURNS, scale, turn, rate).await?;
        for reached in &all {
            let row = |pace: &str, deliveries: Deliveries| {
                let workload = format!("1 → {subscribers}, {}, {pace}", reached.door.name());
                Row {
                    per_second: Some(deliveries.per_second),
                    cpu_us_per_message: Some(deliveries.cpu_us),
                    ..Row::note(&workload, &reached.name, "deliveries")
                }
            };
            let pair = [row("paced", reached.paced), row("bursts", reached.bursts)];
            rows.extend(match reached.owner {
                Owner::Highwater => with_goals(pair, reached, &all),
                _ => pair,
            });
        }
    }
    Ok(rows)
}

/// The servers are new for each turn, so that nobody's idle subscribers cost anything in that of another.
async fn turn(owner: Owner, door: Door, subscribers: usize, seconds: f64) -> Result<Reached> {
    let mut service = Service::start(owner, door).await?;
    let mut publisher = service.publisher().await?;
    let mut crowd = Crowd::open(&service, subscribers).await?;
    let mut measure = async |pace| {
        let parties = (&service, &mut publisher);
        crowd.measure(parties, PAYLOAD_BYTES, pace, seconds).await
    };
    let paced = measure(Pace::PerSecond(PACED / subscribers as f64)).await?;
    let bursts = measure(Pace::Bursts(BURST)).await?;
    let name = service.to_string();
    progress(&format!(
        "{name}, {}, {subscribers}: {:.0}/s at {:.2} µs; paced {:.0}/s at {:.2} µs",
        door.name(),
        bursts.per_second,
        bursts.cpu_us,
        paced.per_second,
        paced.cpu_us,
    ));
    Ok(Reached {
        owner,
        door,
        name,
        paced,
        bursts,
    })
}

/// What is asked of a door beside the rivals' that took part: the one that is most like it, and the replicated one.
fn with_goals([mut paced, mut bursts]: [Row; 2], ours: &Reached, all: &[Reached]) -> [Row; 2] {
    let rival = |door| {
        let mut rivals = all.iter().filter(|other| other.owner != Owner::Highwater);
        rivals.find(|rival| rival.door == door)
    };
    let alike = match ours.door {
        Door::Mqtt => Door::Mqtt,
        _ => Door::NatsWebSocket,
    };
    let mut goals = Vec::new();
    let mut is_met = true;
    if let Some(rival) = rival(alike) {
        let half = rival.paced.cpu_us / 2.0;
        let goal = format!("≤ {half:.2} µs, half of {}'s", rival.name);
        paced = paced.with_goal(goal, ours.paced.cpu_us <= half);
        let (rate, half) = (rival.bursts.per_second, rival.bursts.cpu_us / 2.0);
        goals.push(format!("{}'s {rate:.0}/s at ≤ {half:.2} µs", rival.name));
        is_met &= ours.bursts.per_second >= rate && ours.bursts.cpu_us <= half;
    }
    if let Some(rival) = rival(Door::JetStream) {
        let rate = rival.bursts.per_second;
        goals.push(format!("3 × {}'s {rate:.0}/s", rival.name));
        is_met &= ours.bursts.per_second >= 3.0 * rate;
    }
    if !goals.is_empty() {
        bursts = bursts.with_goal(format!("≥ {}", goals.join(" and ")), is_met);
    }
    [paced, bursts]
}
