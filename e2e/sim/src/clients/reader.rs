//! A reader: asks how far topics and shards reach, and reads what any replica has.

use std::time::Duration;

use highwater_broker::{
    handle::{PageLimits, ReadRequest, TopicPage},
    refusal::Result,
};
use highwater_proto::{ErrorCode, names::TopicName};
use rand::Rng;
use tokio::time;

use super::{CALL_TIMEOUT, Client};
use crate::{
    oracle::Verdict,
    settings::pick,
    world::{Running, topics},
};

const PAUSE_MAX: Duration = Duration::from_millis(60);

/// Asks until faults are over.
pub async fn run(mut client: Client) {
    while !client.world.is_finishing() {
        client.pause(PAUSE_MAX).await;
        let (node, running) = client.node().await;
        let topic = pick(&mut client.random, &topics()).clone();
        let question = client.random.random_range(0..3);
        let verdict = {
            let answered = async {
                match question {
                    0 => view(&client, node, &running, &topic).await,
                    1 => frontier(&client, node, &running, &topic).await,
                    _ => page(&client, node, &running, &topic).await,
                }
            };
            time::timeout(CALL_TIMEOUT, answered).await
        };
        let verdict = verdict.unwrap_or_else(|_| Err("a read was never answered".to_owned()));
        client.world.check(verdict);
    }
}

/// How far a topic reaches: no less than it did before the question.
async fn view(client: &Client, node: usize, running: &Running, topic: &TopicName) -> Verdict {
    let world = &client.world;
    let floor = world.oracle.lock().end(topic);
    let end = match running.broker.topic(&world.project, topic).await {
        Ok(view) => view.next_offset,
        Err(refusal) if refusal.code() == ErrorCode::NotFound => 0,
        Err(_) => return Ok(()),
    };
    client.log(format_args!("{topic} at n{node} ends at {end}"));
    world.oracle.lock().reaches(topic, end, floor)
}

/// How far a shard reaches, the same.
async fn frontier(client: &Client, node: usize, running: &Running, topic: &TopicName) -> Verdict {
    let world = &client.world;
    let shard = running.broker.shard_of(&world.project, topic);
    let floor = world.oracle.lock().shard_end(shard.id());
    let Ok(end) = shard.frontier().await else {
        return Ok(());
    };
    client.log(format_args!(
        "shard {} at n{node} ends at {end}",
        shard.id()
    ));
    world.oracle.lock().shard_reaches(shard.id(), end, floor)
}

/// Some records: perhaps not the newest, but the same that everyone sees.
async fn page(client: &Client, node: usize, running: &Running, topic: &TopicName) -> Verdict {
    let world = &client.world;
    let shard = running.broker.shard_of(&world.project, topic);
    let offset = world.oracle.lock().end(topic).saturating_sub(20);
    let Ok(page) = read(running, world.project.id, topic, offset).await else {
        return Ok(());
    };
    let count: usize = page.slices.iter().map(|slice| slice.count()).sum();
    client.log(format_args!("{topic} at n{node} has {count} from {offset}"));
    let mut next = page.gap.as_ref().map_or(offset, |gap| gap.first_available);
    let mut oracle = world.oracle.lock();
    for slice in &page.slices {
        let first = slice.segment.base_offset + slice.start as u64;
        if first != next {
            return Err(format!(
                "{topic} at n{node}: a page goes on at {first}, not at {next}"
            ));
        }
        next = slice.end_offset();
        oracle.seen(shard.id(), slice)?;
    }
    Ok(())
}

/// Records of a topic from an offset on, as a node's replica has them.
pub async fn read(
    running: &Running,
    project: highwater_proto::ids::ProjectId,
    topic: &TopicName,
    offset: u64,
) -> Result<TopicPage> {
    let catalogue = running.broker.catalogue();
    let known = catalogue
        .project(project)
        .expect("the one project is known");
    let request = |reply| ReadRequest::ReadTopic {
        project,
        topic: topic.clone(),
        incarnation: None,
        offset,
        limits: PageLimits {
            records: 1_000,
            bytes: 64 << 10,
        },
        reply,
    };
    running.broker.shard_of(known, topic).read(request).await
}
