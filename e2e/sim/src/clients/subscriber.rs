//! A subscriber: one journey over many subscriptions, from node to node by cursor.

use std::time::Duration;

use highwater_broker::{
    cursor::Cursor,
    from::From,
    handle::PageLimits,
    subscription::{Delivery, Gap, Subscription},
};
use highwater_proto::{
    ErrorCode,
    names::{TopicFilter, TopicName},
};
use rand::Rng;
use tokio::time;

use super::{CALL_TIMEOUT, Client};
use crate::{
    journey::{Journey, Start, is_trimmed},
    oracle::Verdict,
    settings::pick,
    world::{Running, topics},
};

/// The longest time at one node.
const STAY_MAX: Duration = Duration::from_millis(2_500);

/// Follows its filters until the simulation ends.
pub async fn run(mut client: Client) {
    let filters = choose_filters(&mut client);
    let journey = Journey::new(&client.name, filters);
    let number = {
        let mut journeys = client.world.journeys.lock();
        journeys.push(journey);
        journeys.len() - 1
    };
    client.pause(STAY_MAX).await;
    let mut from = match client.random.random_range(0..4) {
        0 => From::Earliest,
        1 => From::Last(client.random.random_range(0..30)),
        _ => From::Latest,
    };
    loop {
        let (node, running) = client.node().await;
        if let Some(cursor) = visit(&mut client, number, node, running, from.clone()).await {
            from = From::Cursor(cursor);
            client.hop();
        }
        client.pause(Duration::from_millis(100)).await;
    }
}

fn choose_filters(client: &mut Client) -> Vec<TopicFilter> {
    let filter = |text: &str| TopicFilter::try_from(text).expect("a valid filter");
    match client.random.random_range(0..6) {
        0 => vec![filter("#")],
        1 => vec![filter("a/+"), filter("c")],
        _ => vec![filter(pick(&mut client.random, &topics()).as_str())],
    }
}

/// One subscription at one node. Returns the cursor to go on from, if it came to that.
async fn visit(
    client: &mut Client,
    number: usize,
    node: usize,
    running: Running,
    from: From,
) -> Option<String> {
    let world = client.world.clone();
    let filters = world.journeys.lock()[number].filters.clone();
    let floors = Floors::take(client, number);
    let mut ended = running.ended.clone();
    let opening = Subscription::open(
        running.broker.clone(),
        world.project.clone(),
        filters,
        from.clone(),
    );
    let opened = tokio::select! {
        biased;
        _ = ended.changed() => return None,
        opened = time::timeout(CALL_TIMEOUT, opening) => opened,
    };
    let mut subscription = match opened {
        Ok(Ok(subscription)) => subscription,
        Ok(Err(refusal)) if refusal.code().is_retryable() => return None,
        Ok(Err(refusal)) => {
            world.fail(format!(
                "{} cannot go on at n{node}: {refusal}",
                client.name
            ));
            return None;
        }
        Err(_) => {
            world.fail(format!("{} was never answered by n{node}", client.name));
            return None;
        }
    };
    let cursor = subscription.cursor();
    client.log(format_args!("at n{node} from {}", shown(&from)));
    world.check(on_receipt(
        client, number, &running, &from, &cursor, &floors,
    ));

    let mut cursor = Some(cursor);
    let leave_at = time::Instant::now() + STAY_MAX.mul_f64(client.random.random());
    let clock = || world.now().as_millis() as u64;
    loop {
        let limits = PageLimits {
            records: client.random.random_range(1..50),
            bytes: client.random.random_range(1..20_000),
        };
        let next = tokio::select! {
            biased;
            _ = ended.changed() => return cursor,
            next = time::timeout_at(leave_at, subscription.next(limits, &clock)) => next,
        };
        let delivery = match next {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(refusal)) if refusal.code() == ErrorCode::Corrupted => {
                world.fail(format!("{} was told of corruption at n{node}", client.name));
                return cursor;
            }
            Ok(Err(_)) => return cursor,
            Err(_) => return Some(subscription.cursor()),
        };
        match on_delivery(client, number, &running, &subscription, delivery) {
            Ok((at, leave)) => {
                cursor = at.or_else(|| Some(subscription.cursor()));
                if leave {
                    return cursor;
                }
            }
            Err(violation) => {
                world.fail(format!("at n{node}: {violation}"));
                return cursor;
            }
        }
    }
}

/// What was certainly there when the subscription was asked for.
struct Floors {
    topic: Option<(TopicName, u64)>,
    shards: Vec<u64>,
}

impl Floors {
    fn take(client: &Client, number: usize) -> Floors {
        let topic = client.world.journeys.lock()[number].topic();
        let oracle = client.world.oracle.lock();
        let shards = client.world.project.shards.iter();
        Floors {
            topic: topic.map(|topic| {
                let end = oracle.end(&topic);
                (topic, end)
            }),
            shards: shards.map(|shard| oracle.shard_end(*shard)).collect(),
        }
    }
}

/// The receipt says from where on everything comes. It is a linearizable answer when it speaks of the
/// end, and the same place when it goes on.
fn on_receipt(
    client: &Client,
    number: usize,
    running: &Running,
    from: &From,
    cursor: &str,
    floors: &Floors,
) -> Verdict {
    let world = &client.world;
    let cursor = running.broker.cursors().open(world.project.id, cursor);
    let cursor = cursor.map_err(|refusal| format!("a receipt has no good cursor: {refusal}"))?;
    let mut journeys = world.journeys.lock();
    let journey = &mut journeys[number];
    let mut oracle = world.oracle.lock();
    let start = match (&cursor, &floors.topic) {
        (Cursor::Topic(at), Some((topic, floor))) => {
            match from {
                From::Latest => oracle.reaches(topic, at.next_offset, *floor)?,
                // There may be fewer than it asked for, so this says nothing of where the end is.
                From::Last(n) if at.next_offset + n < *floor => {
                    return Err(format!(
                        "the last {n} of {floor} begin at {}",
                        at.next_offset
                    ));
                }
                From::Earliest if at.next_offset > 0 && !is_trimmed(&world.project, topic) => {
                    return Err(format!("{topic} begins at {}", at.next_offset));
                }
                _ => {}
            }
            if journey.start.is_none() {
                journey.next_offset = at.next_offset;
            }
            Start::Offset(at.next_offset)
        }
        (Cursor::Feed(positions), None) => {
            for (place, floor) in positions.iter().zip(&floors.shards) {
                if *from == From::Latest {
                    oracle.shard_reaches(place.shard, place.next_position, *floor)?;
                }
            }
            let places = positions.iter().map(|p| (p.shard, p.next_position));
            match from {
                // The beginning is where the first record is, wherever that is.
                From::Earliest => Start::Positions(Default::default()),
                _ => Start::Positions(places.collect()),
            }
        }
        _ => return Err("a receipt has the cursor of something else".to_owned()),
    };
    match &journey.start {
        None => journey.start = Some(start),
        Some(_) => oracle.counts().add("resumed", 1),
    }
    Ok(())
}

/// Takes what was delivered, all of it or a part. Returns the cursor of the last record taken, when it
/// was only a part, and whether to leave.
fn on_delivery(
    client: &mut Client,
    number: usize,
    running: &Running,
    subscription: &Subscription,
    delivery: Delivery,
) -> Result<(Option<String>, bool), String> {
    let world = client.world.clone();
    let mut journeys = world.journeys.lock();
    let journey = &mut journeys[number];
    for gap in &delivery.gaps {
        on_gap(client, journey, running, gap)?;
    }
    let count: usize = delivery.slices.iter().map(|slice| slice.count()).sum();
    // A client that dies in the middle of a page has seen a part of it.
    let leave = count > 0 && client.random.random_ratio(1, 12);
    let taken = match leave {
        true => client.random.random_range(1..=count),
        false => count,
    };
    let records = delivery
        .slices
        .iter()
        .flat_map(|s| (s.start..s.end).map(move |i| (s, i)));
    let mut cursor = None;
    for (nth, (slice, index)) in records.take(taken).enumerate() {
        journey.take(subscription.shard_of(slice), slice, index)?;
        if leave && nth + 1 == taken {
            cursor = Some(subscription.record_cursor(&delivery.cursors, slice, index));
        }
    }
    for slice in &delivery.slices {
        world
            .oracle
            .lock()
            .seen(subscription.shard_of(slice), slice)?;
    }
    let gaps = delivery.gaps.len();
    world.oracle.lock().counts().add("gaps", gaps as u64);
    client.log(format_args!("takes {taken} of {count}, {gaps} gaps"));
    Ok((cursor, leave))
}

/// Only what retention removed may be missing, and the gap begins where the reader stands.
fn on_gap(client: &Client, journey: &mut Journey, running: &Running, gap: &Gap) -> Verdict {
    let project = &client.world.project;
    let name = &client.name;
    if gap
        .topic
        .as_ref()
        .is_some_and(|topic| !is_trimmed(project, topic))
    {
        return Err(format!("{name} is told of a gap in {:?}", gap.topic));
    }
    if journey.topic().is_none() {
        return Ok(());
    }
    let open = |text: &str| running.broker.cursors().open(project.id, text);
    match (open(&gap.requested), open(&gap.first_available)) {
        (Ok(Cursor::Topic(requested)), Ok(Cursor::Topic(first)))
            if requested.next_offset == journey.next_offset
                && first.next_offset > requested.next_offset =>
        {
            journey.next_offset = first.next_offset;
            Ok(())
        }
        other => Err(format!(
            "{name} stands at {} and is told {other:?}",
            journey.next_offset
        )),
    }
}

fn shown(from: &From) -> String {
    match from {
        From::Cursor(_) => "a cursor".to_owned(),
        other => format!("{other:?}"),
    }
}
