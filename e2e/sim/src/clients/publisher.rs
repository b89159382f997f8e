//! A publisher: alone or in batches, with and without idempotency keys, at any node.

use std::time::Duration;

use highwater_broker::{
    handle::{Publish, Published, Retain, ShardHandle, TopicEnd, interrupted},
    metering::Protocol,
    refusal::{Refusal, Result},
};
use highwater_proto::names::TopicName;
use rand::Rng;
use tokio::time;

use super::{CALL_TIMEOUT, Client};
use crate::{
    message::MessageId,
    settings::pick,
    world::{World, topics},
};

/// How often a keyed publish is tried.
const TRIES_MAX: usize = 30;

/// Publishes until faults are over.
pub async fn run(mut client: Client, number: u32) {
    let mut count = 0;
    while !client.world.is_finishing() {
        client.pause(client.world.settings.publish_pause_max).await;
        let keyed = client.random.random_ratio(1, 3);
        let topic = pick(&mut client.random, &topics()).clone();
        let batch = match client.random.random_ratio(1, 4) {
            true => client.random.random_range(2..=12),
            false => 1,
        };
        let filler_max = client.world.settings.filler_bytes_max as u32;
        let messages: Vec<MessageId> = (0..batch)
            .map(|_| {
                count += 1;
                MessageId {
                    publisher: number,
                    number: count,
                    filler: client.random.random_range(0..=filler_max),
                }
            })
            .collect();
        match keyed {
            true => publish_keyed(&mut client, &topic, messages[0]).await,
            false => publish_once(&mut client, &topic, &messages).await,
        }
    }
    client.world.publisher_done();
}

/// Publishes without keys: each message at most once, whatever happens.
async fn publish_once(client: &mut Client, topic: &TopicName, messages: &[MessageId]) {
    let floor = announce(&client.world, topic, messages);
    // Now and then only if the topic still ends where it is known to.
    let condition = client.random.random_ratio(1, 10).then_some(floor);
    let publishes = messages.iter().enumerate().map(|(nth, message)| Publish {
        if_end: condition.map(|end| TopicEnd {
            topic: None,
            next_offset: end + nth as u64,
        }),
        ..publish(&client.world, topic, *message)
    });
    let publishes: Vec<Publish> = publishes.collect();
    let (node, outcomes) = send(client, topic, publishes).await;
    for (nth, message) in messages.iter().enumerate() {
        let outcome = match &outcomes {
            Ok(outcomes) => outcomes[nth].clone(),
            Err(refusal) => Err(refusal.clone()),
        };
        note(client, topic, *message, node, &outcome);
        let verdict = match outcome {
            Ok(published) if published.duplicate => {
                Err(format!("{message} has no key and is called a duplicate"))
            }
            Ok(published) if condition.is_some_and(|c| c + nth as u64 != published.offset) => {
                Err(format!("{message} was to be at {condition:?} + {nth} only"))
            }
            Ok(published) => client
                .world
                .oracle
                .lock()
                .acked(topic, *message, published, floor),
            Err(refusal) => client
                .world
                .oracle
                .lock()
                .not_acked(topic, *message, &refusal),
        };
        client.world.check(verdict);
    }
}

/// Publishes with a key until it is acknowledged, and sometimes once more.
async fn publish_keyed(client: &mut Client, topic: &TopicName, message: MessageId) {
    let floor = announce(&client.world, topic, &[message]);
    for _ in 0..TRIES_MAX {
        let publish = Publish {
            idempotency: Some(message.key()),
            ..publish(&client.world, topic, message)
        };
        let (node, outcomes) = send(client, topic, vec![publish]).await;
        let outcome = outcomes.and_then(|mut all| all.remove(0));
        note(client, topic, message, node, &outcome);
        if let Ok(published) = outcome {
            let verdict = client
                .world
                .oracle
                .lock()
                .acked(topic, message, published, floor);
            client.world.check(verdict);
            if client.random.random_ratio(3, 4) {
                return;
            }
        }
        client.hop();
        client.pause(Duration::from_millis(300)).await;
    }
}

fn announce(world: &World, topic: &TopicName, messages: &[MessageId]) -> u64 {
    let mut oracle = world.oracle.lock();
    for message in messages {
        oracle.publishing(topic, *message);
    }
    oracle.end(topic)
}

fn publish(world: &World, topic: &TopicName, message: MessageId) -> Publish {
    Publish {
        project: world.project.id,
        topic: topic.clone(),
        message: message.encode(),
        idempotency: None,
        key: None,
        if_end: None,
        policy: world.project.policy(topic).topic,
        retain: Retain::Unchanged,
        with_previous: false,
        protocol: Protocol::Grpc,
    }
}

/// One call at one node. A node that dies meanwhile leaves the outcome open.
async fn send(
    client: &mut Client,
    topic: &TopicName,
    publishes: Vec<Publish>,
) -> (usize, Result<Vec<Result<Published>>>) {
    let (node, running) = client.node().await;
    let shard = running
        .broker
        .shard_of(&client.world.project, topic)
        .clone();
    let outcome = time::timeout(CALL_TIMEOUT, call(shard, publishes)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        // The cluster has time-outs of its own, all of them shorter.
        client
            .world
            .fail(format!("a publish to {topic} was never answered"));
        Err(interrupted())
    });
    (node, outcome)
}

async fn call(shard: ShardHandle, publishes: Vec<Publish>) -> Result<Vec<Result<Published>>> {
    shard
        .publish(publishes)
        .await?
        .await
        .map_err(|_| interrupted())?
}

fn note(
    client: &Client,
    topic: &TopicName,
    message: MessageId,
    node: usize,
    outcome: &Result<Published, Refusal>,
) {
    match outcome {
        Ok(at) => client.log(format_args!("{topic} {message} at n{node}: {}", at.offset)),
        Err(refusal) => {
            client.log(format_args!(
                "{topic} {message} at n{node}: {}",
                refusal.code()
            ));
        }
    }
}
