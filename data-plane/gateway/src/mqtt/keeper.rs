//! Sees to sessions that have no connection: wills whose time has come, sessions that are over, and what was
//! connected to a node that is gone.
//!
//! Every node follows all sessions, as any subscriber follows topics, and remembers only when there is something
//! to do for one. When it is time, each node would do it; they take turns so that one is first, and because
//! a session is written only at the end of its topic, the others find it done.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hasher},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use highwater_broker::{
    Result,
    from::From,
    group::Home,
    handle::PageLimits,
    session::{self, SessionKey, SessionSlot},
    subscription::{Delivery, Subscription},
    system,
};
use highwater_proto::{
    cluster::Session,
    limits::{MQTT_SETTLED_TOGETHER_MAX, PAGE_BYTES_MAX, PAGE_RECORDS_MAX},
    names::TopicFilter,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{settle, will};
use crate::{
    gateway::Door,
    nodes::{LOOK, Peers, read_start, tell_start},
};

/// Seconds in which a client that was sent to another node is expected there, beside the spread of the
/// reconnects.
pub const RETURN_S: u32 = 10;
/// How far apart the nodes' turns are.
const TURN_MS: u64 = 700;
/// Turns there are; more nodes share them.
const TURNS: u64 = 4;
/// Pause after something could not be done.
const RETRY_MS: u64 = 2_000;

const PAGE: PageLimits = PageLimits {
    records: PAGE_RECORDS_MAX,
    bytes: PAGE_BYTES_MAX,
};

/// What is to be done, and when.
#[derive(Debug, Default)]
struct Agenda {
    due_ms: HashMap<SessionKey, u64>,
    order: BTreeSet<(u64, SessionKey)>,
}

impl Agenda {
    fn set(&mut self, key: &SessionKey, due_ms: Option<u64>) {
        let before = match due_ms {
            Some(due_ms) => self.due_ms.insert(key.clone(), due_ms),
            None => self.due_ms.remove(key),
        };
        if let Some(before) = before {
            self.order.remove(&(before, key.clone()));
        }
        if let Some(due_ms) = due_ms {
            self.order.insert((due_ms, key.clone()));
        }
    }

    fn first_ms(&self) -> Option<u64> {
        self.order.first().map(|(due_ms, _)| *due_ms)
    }

    /// The next session whose time has come.
    fn pop(&mut self, now_ms: u64) -> Option<SessionKey> {
        let (due_ms, _) = self.order.first()?;
        if *due_ms > now_ms {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due_ms.remove(&key);
        Some(key)
    }
}

/// Keeps all sessions, until it is dropped.
pub async fn run(door: &Door, peers: &Peers) {
    loop {
        if let Err(refusal) = keep(door, peers).await {
            tracing::debug!(%refusal, "sessions cannot be followed for a moment");
        }
        sleep(LOOK).await;
    }
}

async fn keep(door: &Door, peers: &Peers) -> Result<()> {
    tell_start(&door.broker, door.home()).await?;
    let mut sessions = follow(door).await?;
    let mut agenda = Agenda::default();
    let mut settling = FuturesUnordered::new();
    let mut next_look = Instant::now() + LOOK;
    loop {
        let now_ms = (door.clock)();
        while settling.len() < MQTT_SETTLED_TOGETHER_MAX
            && let Some(key) = agenda.pop(now_ms)
        {
            settling.push(attend(door, key));
        }
        let wake = agenda
            .first_ms()
            .map(|due_ms| Instant::now() + Duration::from_millis(due_ms.saturating_sub(now_ms)));
        let wake = wake
            .filter(|_| settling.len() < MQTT_SETTLED_TOGETHER_MAX)
            .unwrap_or(next_look)
            .min(next_look);
        tokio::select! {
            delivery = sessions.next(PAGE, &*door.clock) => {
                for (key, session) in read(door, &delivery?) {
                    door.sessions.on_written(&key, session.epoch);
                    let due_ms = due_ms(door, &key, &session);
                    agenda.set(&key, due_ms);
                }
            }
            Some((key, outcome)) = settling.next(), if !settling.is_empty() => {
                if let Err(refusal) = outcome {
                    tracing::debug!(%refusal, "a session is settled later");
                    agenda.set(&key, Some((door.clock)() + RETRY_MS));
                }
            }
            () = sleep_until(wake) => {}
        }
        if Instant::now() >= next_look {
            next_look = Instant::now() + LOOK;
            for key in door.sessions.take_left() {
                agenda.set(&key, Some(now_ms));
            }
            let lost = door.nodes.look(peers).await;
            if !lost.is_empty() {
                find_orphans(door, &lost, &mut agenda).await?;
            }
        }
    }
}

async fn follow(door: &Door) -> Result<Subscription> {
    let broker = door.broker.clone();
    let project = broker.system().clone();
    let nodes = TopicFilter::try_from(format!("{}+", system::NODES).as_str())?;
    let filters = vec![SessionKey::filter(), nodes];
    Subscription::open(broker, project, filters, From::Retained).await
}

/// The sessions of a delivery, each as it was written last. What it says of nodes is noted.
fn read<'a>(
    door: &'a Door,
    delivery: &'a Delivery,
) -> impl Iterator<Item = (SessionKey, Session)> + 'a {
    delivery.slices.iter().filter_map(|slice| {
        let topic = &slice.segment.topic.name;
        let newest = slice.segment.messages.get(slice.end - 1)?;
        if topic.as_str().starts_with(system::NODES) {
            let started = read_start(topic.as_str(), newest);
            started
                .into_iter()
                .for_each(|home| door.nodes.on_started(home));
            return None;
        }
        match session::decode(newest) {
            Ok(session) => Some((SessionKey::of_topic(topic), session)),
            Err(refusal) => {
                tracing::error!(%refusal, topic = topic.as_str(), "a session is damaged");
                None
            }
        }
    })
}

/// Puts what is connected to nodes that are gone on the agenda.
async fn find_orphans(door: &Door, lost: &HashSet<u64>, agenda: &mut Agenda) -> Result<()> {
    let mut all = follow(door).await?;
    while let Some(delivery) = all.try_next(PAGE, &*door.clock).await? {
        // What is written meanwhile, whoever follows the sessions has heard of.
        if !delivery.is_retained {
            continue;
        }
        for (key, session) in read(door, &delivery) {
            let home = session.connected.as_ref();
            if home.is_some_and(|home| lost.contains(&home.node)) {
                let due_ms = (door.clock)() + turn_ms(door, &key);
                agenda.set(&key, Some(due_ms));
            }
        }
    }
    Ok(())
}

/// When there is something to do for a session, by this node, in milliseconds since the Unix epoch.
fn due_ms(door: &Door, key: &SessionKey, session: &Session) -> Option<u64> {
    let turn_ms = turn_ms(door, key);
    if session.connected.is_some() {
        return is_orphan(door, key, session).then(|| (door.clock)() + turn_ms);
    }
    let over_ms = session::over_ms(session);
    let due_ms = will::due_ms(session).into_iter().chain(over_ms).min();
    due_ms.map(|due_ms| due_ms + turn_ms)
}

/// Whether nobody serves a session that has a connection by its own account: it was this node's before it
/// was started again, or its node is gone.
fn is_orphan(door: &Door, key: &SessionKey, session: &Session) -> bool {
    let Some(home) = session.connected.as_ref().map(Home::from) else {
        return false;
    };
    if home.node == door.options.node {
        return home != door.home() || !door.sessions.serves(key);
    }
    door.nodes.has_lost(home)
}

/// Does what is due for a session.
async fn attend(door: &Door, key: SessionKey) -> (SessionKey, Result<()>) {
    let outcome = attend_to(door, &key).await;
    (key, outcome)
}

async fn attend_to(door: &Door, key: &SessionKey) -> Result<()> {
    let (slot, session) = SessionSlot::open(&door.broker, key).await?;
    let Some(mut session) = session else {
        return Ok(());
    };
    let now_ms = (door.clock)();
    if session.connected.is_some() {
        if !is_orphan(door, key, &session) {
            return Ok(());
        }
        session.connected = None;
        session.disconnected_at_ms = now_ms;
    } else if due_ms(door, key, &session).is_none_or(|due_ms| due_ms > now_ms + TURNS * TURN_MS) {
        return Ok(());
    }
    match settle(door, slot, session).await {
        // Somebody else was first.
        Err(refusal) if refusal.code() == highwater_proto::ErrorCode::PreconditionFailed => Ok(()),
        outcome => outcome,
    }
}

/// How long this node leaves a session to others, in milliseconds.
fn turn_ms(door: &Door, key: &SessionKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_str().as_bytes());
    let first = hasher.finish();
    first.wrapping_add(door.options.node) % TURNS * TURN_MS
}
