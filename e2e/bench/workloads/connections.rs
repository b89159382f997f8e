//! Idle subscribers of one node, each on a connection of its own and of a topic of its own: resident memory for
//! each, and how many a second are taken, with the check of their key and the receipt of their subscription.
//!
//! At most 5 KiB for MQTT and WebSocket and 12 KiB for event streams; 10,000 a second. The clients are on the same
//! cores.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use highwater_e2e::{cluster::Setup, usage::Usage};
use tokio::net::TcpStream;

use crate::{Scale, contender::highwater, door::Door, row::Row};

pub const NAME: &str = "connections";

/// Connections that are being opened at once.
const OPENING: usize = 64;
/// In which the allocator gives back what the opening has taken.
const SETTLE: Duration = Duration::from_secs(15);

pub async fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = if scale.is_quick { 1_000 } else { 8_000 };
    let mut rows = Vec::new();
    for door in Door::ALL {
        let setup = Setup {
            nodes: 1,
            ..Setup::default()
        };
        let cluster = highwater(setup).await;
        let open = async |from: usize, count: usize| -> Result<Vec<TcpStream>> {
            let (address, key) = (cluster.address(0), cluster.key());
            let opening = (from..from + count).map(|number| async move {
                let mut socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                let topic = format!("idle/{number}");
                door.subscribe(&mut socket, (address, key), &topic).await?;
                Ok(socket)
            });
            stream::iter(opening)
                .buffer_unordered(OPENING)
                .try_collect()
                .await
        };
        // What the first connections need for all of them is not counted.
        let _first = open(0, 500).await?;
        tokio::time::sleep(SETTLE).await;
        let before = Usage::of(&cluster.pids())?.resident_bytes;
        let start = Instant::now();
        let open = open(500, count).await?;
        let rate = count as f64 / start.elapsed().as_secs_f64();
        tokio::time::sleep(SETTLE).await;
        let after = Usage::of(&cluster.pids())?.resident_bytes;
        let each_kib = after.saturating_sub(before) as f64 / count as f64 / 1024.0;
        let workload = format!("{count} idle connections, {}", door.name());
        let goal = format!("≤ {} KiB, 10,000/s", door.idle_kib_max());
        rows.push(
            Row {
                per_second: Some(rate),
                resident_mib: Some(after as f64 / f64::from(1 << 20)),
                ..Row::note(
                    &workload,
                    "highwater",
                    format!("opened; {each_kib:.1} KiB each"),
                )
            }
            .with_goal(goal, each_kib <= door.idle_kib_max() && rate >= 10_000.0),
        );
        drop(open);
    }
    Ok(rows)
}
