//! What is checked when the faults are over: every replica holds every promise, and every subscriber
//! gets everything.

use std::{sync::Arc, time::Duration};

use highwater_broker::{refusal::Result, segment::Slice};
use highwater_proto::names::TopicName;
use tokio::time;

use super::reader::read;
use crate::world::{Running, World, topics};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Waits for the end of the faults, and then for everything to be as it was promised.
pub async fn run(world: Arc<World>) {
    while !world.is_finishing() || world.publishers_left() > 0 {
        time::sleep(LOOK_AGAIN).await;
    }
    world.log(format_args!("audit"));
    for index in 0..world.nodes.len() {
        for topic in topics() {
            audit(&world, index, &topic).await;
        }
    }
    world.log(format_args!("audit: every replica holds everything"));
    let subscribers = world.journeys.lock().len();
    for number in 0..subscribers {
        loop {
            let missing = {
                let journeys = world.journeys.lock();
                journeys[number].missing(&world.project, world.oracle.lock().records())
            };
            match missing {
                None => break,
                Some(missing) => {
                    world.set_waiting_for(missing);
                    time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }
    world.log(format_args!("audit: every subscriber has everything"));
    world.set_done();
}

/// Reads one topic from one replica, once that has caught up.
async fn audit(world: &World, index: usize, topic: &TopicName) {
    let node = index + 1;
    loop {
        world.set_waiting_for(format!("n{node} does not answer for {topic}"));
        if let Some(running) = world.nodes[index].running()
            && let Ok((first, slices)) = read_all(world, &running, topic).await
        {
            let shard = world.project.shard_of(topic);
            let mut oracle = world.oracle.lock();
            let seen = slices
                .iter()
                .try_for_each(|slice| oracle.seen(shard, slice));
            let held = seen.and_then(|()| oracle.holds(topic, first, &slices));
            drop(oracle);
            world.check(held.map_err(|what| format!("n{node}: {what}")));
            return;
        }
        time::sleep(LOOK_AGAIN).await;
    }
}

async fn read_all(
    world: &World,
    running: &Running,
    topic: &TopicName,
) -> Result<(u64, Vec<Slice>)> {
    running
        .broker
        .shard_of(&world.project, topic)
        .frontier()
        .await?;
    let mut offset = 0;
    let mut slices: Vec<Slice> = Vec::new();
    loop {
        let page = read(running, world.project.id, topic, offset).await?;
        slices.extend(page.slices);
        offset = page.next_offset;
        if page.through.is_some() {
            let first = slices
                .first()
                .map(|s| s.segment.base_offset + s.start as u64);
            return Ok((first.unwrap_or(offset), slices));
        }
    }
}
