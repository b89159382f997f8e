//! The one way in: every publish of every protocol is checked, encoded and sent to its shard here.
//!
//! A batch becomes one request to each shard it touches; the outcomes come back in the order of the
//! batch. What one message costs is its encoding and its cursor: names, policies and shards are looked
//! up once for each run of messages to the same topic, and the encoded messages share one buffer.

use std::sync::Arc;

use bytes::BytesMut;
use highwater_broker::{
    Refusal, Result,
    catalogue::{Operation, Principal, Project},
    handle::{Publish, Published, Retain, ShardHandle, TopicPolicy, interrupted},
};
use highwater_proto::{
    ErrorCode,
    client::{Message, PublishRequest, PublishResult},
    ids::ShardId,
    limits::{
        CONTENT_TYPE_BYTES_MAX, CORRELATION_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX,
        IDEMPOTENCY_KEY_BYTES_MAX, KEY_BYTES_MAX, PUBLISHER_BYTES_MAX, QOS_PLUS_ONE_MAX,
        TRACEPARENT_BYTES_MAX, TTL_MS_MAX,
    },
    names::{NameError, TopicName},
    trace,
};
use prost::Message as _;
use tokio::{sync::oneshot, time::Instant};
use tracing::Span;

use crate::{gateway::Door, metrics::Protocol};

/// A batch that was checked and waits to be sent.
pub struct Batch<'a> {
    door: &'a Door,
    protocol: Protocol,
    project: Arc<Project>,
    /// In the order of the requests.
    slots: Vec<Slot>,
    /// One for each shard.
    groups: Vec<Group>,
    span: Span,
}

/// What stands in the place of one request until its outcome is known.
enum Slot {
    Refused(Refusal),
    Sent { topic: String, bytes: usize },
}

/// The publishes of a batch that go to one shard.
struct Group {
    shard: ShardHandle,
    publishes: Vec<Publish>,
    /// The slots they are for.
    slots: Vec<usize>,
}

/// The topic of the last message, which is often that of the next one.
struct Route {
    topic: TopicName,
    policy: TopicPolicy,
    group: usize,
}

/// Checks and encodes a batch. Requests that are refused do not hinder the others.
pub fn prepare<'a>(
    door: &'a Door,
    protocol: Protocol,
    principal: &Principal,
    mut requests: Vec<PublishRequest>,
) -> Batch<'a> {
    let span = span_of(door, &mut requests);
    let bytes = requests.iter().filter_map(|r| r.message.as_ref());
    let mut buffer = BytesMut::with_capacity(bytes.map(Message::encoded_len).sum());
    let mut batch = Batch {
        door,
        protocol,
        project: principal.project.clone(),
        slots: Vec::with_capacity(requests.len()),
        groups: Vec::with_capacity(1),
        span,
    };
    let mut route = None;
    for request in requests {
        let slot = batch.take(principal, request, &mut route, &mut buffer);
        batch.slots.push(slot.unwrap_or_else(Slot::Refused));
    }
    batch.spend();
    batch
}

impl<'a> Batch<'a> {
    /// Checks one request and adds it to the group of its shard.
    fn take(
        &mut self,
        principal: &Principal,
        mut request: PublishRequest,
        last: &mut Option<Route>,
        buffer: &mut BytesMut,
    ) -> Result<Slot> {
        let message = request
            .message
            .as_mut()
            .ok_or_else(|| invalid("the message is missing"))?;
        if !self.protocol.tells_origin() {
            message.origin.clear();
            message.qos_plus_one = 0;
        }
        check_message(&self.project, message)?;
        check_idempotency_key(&request.idempotency_key)?;
        let route = match last {
            Some(route) if route.topic.as_str() == request.topic => route,
            _ => last.insert(self.route(principal, &request.topic)?),
        };
        let if_end = match request.if_cursor.as_str() {
            "" => None,
            cursor => {
                let broker = &self.door.broker;
                Some(broker.expected_end(&self.project, &route.topic, cursor)?)
            }
        };
        message.encode(buffer).expect("a growing buffer has room");
        let encoded = buffer.split().freeze();
        let bytes = encoded.len();
        let group = &mut self.groups[route.group];
        group.slots.push(self.slots.len());
        group.publishes.push(Publish {
            project: self.project.id,
            topic: route.topic.clone(),
            message: encoded,
            idempotency: hash(&request.idempotency_key),
            key: hash(&message.key),
            if_end,
            policy: route.policy,
            retain: match (message.retain, message.payload.is_empty()) {
                (false, _) => Retain::Unchanged,
                (true, false) => Retain::Set,
                (true, true) => Retain::Clear,
            },
            with_previous: false,
            protocol: self.protocol.metered(),
        });
        Ok(Slot::Sent {
            topic: request.topic,
            bytes,
        })
    }

    /// Takes the batch out of what the project may publish, or refuses all of it: a part of it would be out of
    /// order.
    fn spend(&mut self) {
        let sent = self.slots.iter().filter_map(|slot| match slot {
            Slot::Sent { bytes, .. } => Some(*bytes as u64),
            Slot::Refused(_) => None,
        });
        let (messages, bytes) = sent.fold((0, 0), |(n, sum), bytes| (n + 1, sum + bytes));
        if messages == 0 {
            return;
        }
        let now_ms = (self.door.clock)();
        if let Err(refusal) = self.project.usage.publish(messages, bytes, now_ms) {
            for slot in &mut self.slots {
                if matches!(slot, Slot::Sent { .. }) {
                    *slot = Slot::Refused(refusal.clone());
                }
            }
            self.groups.clear();
        }
    }

    /// Looks up whether and how the principal may publish to a topic.
    fn route(&mut self, principal: &Principal, topic: &str) -> Result<Route> {
        let topic = TopicName::try_from(topic)?;
        if topic.is_system() {
            return Err(NameError::System.into());
        }
        principal.require(Operation::Publish, &topic)?;
        let shard = self.door.broker.shard_of(&self.project, &topic);
        let group = self.groups.iter().position(|g| g.shard.id() == shard.id());
        let group = group.unwrap_or_else(|| {
            self.groups.push(Group {
                shard: shard.clone(),
                publishes: Vec::new(),
                slots: Vec::new(),
            });
            self.groups.len() - 1
        });
        let policy = self.project.policy(&topic).topic;
        Ok(Route {
            topic,
            policy,
            group,
        })
    }

    /// The first request that was refused, with its place in the batch.
    pub fn first_refusal(&self) -> Option<(usize, &Refusal)> {
        let mut slots = self.slots.iter().enumerate();
        slots.find_map(|(at, slot)| match slot {
            Slot::Refused(refusal) => Some((at, refusal)),
            Slot::Sent { .. } => None,
        })
    }

    /// Sends the batch, refusing what the shards have no room for.
    pub fn try_send(self) -> Pending<'a> {
        let (mut pending, groups) = self.into_pending();
        for group in groups {
            pending.add(
                group.shard.id(),
                group.slots,
                group.shard.try_publish(group.publishes),
            );
        }
        pending
    }

    /// Sends the batch, waiting until the shards have room for it.
    pub async fn send(self) -> Pending<'a> {
        let (mut pending, groups) = self.into_pending();
        for group in groups {
            let sent = group.shard.publish(group.publishes).await;
            pending.add(group.shard.id(), group.slots, sent);
        }
        pending
    }

    fn into_pending(self) -> (Pending<'a>, Vec<Group>) {
        let groups = self.groups;
        let pending = Pending {
            door: self.door,
            protocol: self.protocol,
            project: self.project,
            slots: self.slots,
            sent: Vec::with_capacity(groups.len()),
            span: self.span,
        };
        (
            pending,
            groups
                .into_iter()
                .filter(|g| !g.publishes.is_empty())
                .collect(),
        )
    }
}

/// A batch that is on its way.
pub struct Pending<'a> {
    door: &'a Door,
    protocol: Protocol,
    project: Arc<Project>,
    slots: Vec<Slot>,
    sent: Vec<Sent>,
    span: Span,
}

struct Sent {
    shard: ShardId,
    slots: Vec<usize>,
    outcome: oneshot::Receiver<Result<Vec<Result<Published>>>>,
}

impl Pending<'_> {
    fn add(
        &mut self,
        shard: ShardId,
        slots: Vec<usize>,
        sent: Result<oneshot::Receiver<Result<Vec<Result<Published>>>>>,
    ) {
        match sent {
            Ok(outcome) => self.sent.push(Sent {
                shard,
                slots,
                outcome,
            }),
            Err(refusal) => {
                for at in slots {
                    self.slots[at] = Slot::Refused(refusal.clone());
                }
            }
        }
    }

    /// The number of requests in the batch.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Waits for the outcomes, in the order of the requests. Each is counted.
    pub async fn outcomes(mut self) -> Vec<Result<PublishResult>> {
        // One for all: shards that are slow one after the other do not add up.
        let deadline = Instant::now() + self.door.options.publish_timeout;
        let mut published: Vec<Option<(ShardId, Published)>> = vec![None; self.slots.len()];
        for sent in std::mem::take(&mut self.sent) {
            let outcomes = match until(deadline, sent.outcome).await {
                Ok(outcomes) if outcomes.len() == sent.slots.len() => outcomes,
                Ok(_) => vec![Err(interrupted()); sent.slots.len()],
                Err(refusal) => vec![Err(refusal); sent.slots.len()],
            };
            for (at, outcome) in sent.slots.into_iter().zip(outcomes) {
                match outcome {
                    Ok(place) => published[at] = Some((sent.shard, place)),
                    Err(refusal) => self.slots[at] = Slot::Refused(refusal),
                }
            }
        }
        let _entered = self.span.enter();
        let slots = std::mem::take(&mut self.slots);
        let outcomes = slots.into_iter().zip(published);
        outcomes
            .map(|(slot, place)| self.outcome(slot, place))
            .collect()
    }

    /// Counts an outcome and gives it its cursor.
    fn outcome(&self, slot: Slot, place: Option<(ShardId, Published)>) -> Result<PublishResult> {
        let metrics = &self.door.metrics;
        let traffic = metrics.traffic(self.protocol);
        let refusal = match (slot, place) {
            (Slot::Sent { topic, bytes }, Some((shard, place))) => {
                match place.duplicate {
                    true => traffic.duplicates.inc(),
                    false => {
                        traffic.publish_bytes.inc_by(bytes as u64);
                        traffic.publishes.inc()
                    }
                };
                return Ok(PublishResult {
                    topic,
                    offset: place.offset,
                    cursor: self
                        .door
                        .broker
                        .published_cursor(&self.project, shard, place),
                    duplicate: place.duplicate,
                });
            }
            (Slot::Refused(refusal), _) => refusal,
            (Slot::Sent { .. }, None) => interrupted(),
        };
        metrics.refused(self.protocol, &refusal);
        Err(refusal)
    }
}

/// Publishes one message, refusing it when its shard has no room.
///
/// # Errors
/// Every refusal of a publish; the outcome is unknown when the code says so.
pub async fn publish_one(
    door: &Door,
    protocol: Protocol,
    principal: &Principal,
    request: PublishRequest,
) -> Result<PublishResult> {
    let batch = prepare(door, protocol, principal, vec![request]);
    let mut outcomes = batch.try_send().outcomes().await;
    outcomes.pop().unwrap_or_else(|| Err(interrupted()))
}

async fn until(
    deadline: Instant,
    outcome: oneshot::Receiver<Result<Vec<Result<Published>>>>,
) -> Result<Vec<Result<Published>>> {
    match tokio::time::timeout_at(deadline, outcome).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(interrupted()),
        Err(_) => {
            let message = "the outcome was not known in time";
            Err(Refusal::new(ErrorCode::Unavailable, message).retry_after_ms(1_000))
        }
    }
}

fn check_message(project: &Project, message: &Message) -> Result<()> {
    let payload_bytes_max = project.payload_bytes_max;
    if message.payload.len() > payload_bytes_max {
        let message = format!("a payload has at most {payload_bytes_max} bytes");
        return Err(Refusal::new(ErrorCode::PayloadTooLarge, message));
    }
    let headers = &message.headers;
    let header_bytes: usize = headers.iter().map(|h| h.name.len() + h.value.len()).sum();
    if message.correlation.len() > CORRELATION_BYTES_MAX {
        let message = "what answers are told by has at most 4 KiB";
        return Err(Refusal::new(ErrorCode::HeadersTooLarge, message));
    }
    let header_bytes = header_bytes + message.correlation.len();
    if headers.len() > HEADERS_MAX || header_bytes > HEADERS_BYTES_MAX {
        let message = "a message has at most 64 headers of 16 KiB together";
        return Err(Refusal::new(ErrorCode::HeadersTooLarge, message));
    }
    let texts = headers.iter().flat_map(|h| [&h.name, &h.value]);
    // MQTT has no way to say it (MQTT-1.5.4-2), and every record can be read over MQTT.
    if texts
        .chain([&message.content_type, &message.key])
        .any(|t| t.contains('\0'))
    {
        return Err(invalid(
            "headers, content types and keys have no NUL character",
        ));
    }
    if message.content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err(invalid("a content type has at most 256 bytes"));
    }
    if message.key.len() > KEY_BYTES_MAX {
        return Err(invalid("a key has at most 1024 bytes"));
    }
    if !message.reply_to.is_empty() && TopicName::try_from(message.reply_to.as_str()).is_err() {
        return Err(invalid(
            "answers are sent to a topic, and this is no name of one",
        ));
    }
    if message.origin.len() > PUBLISHER_BYTES_MAX || message.qos_plus_one > QOS_PLUS_ONE_MAX {
        return Err(invalid("there is no such publisher or QoS"));
    }
    if message.ttl_ms > TTL_MS_MAX {
        return Err(invalid("a record lives ten years at most"));
    }
    if message.traceparent.len() > TRACEPARENT_BYTES_MAX || !message.traceparent.is_ascii() {
        return Err(invalid("the trace context is not a W3C `traceparent`"));
    }
    Ok(())
}

fn check_idempotency_key(key: &str) -> Result<()> {
    match key.len() <= IDEMPOTENCY_KEY_BYTES_MAX {
        true => Ok(()),
        false => Err(invalid("an idempotency key has at most 256 bytes")),
    }
}

fn invalid(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// Half of the BLAKE3 hash of a key. It is stored, so no release may change it.
fn hash(key: &str) -> Option<[u8; 16]> {
    let half = |hash: blake3::Hash| {
        let (half, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        *half
    };
    (!key.is_empty()).then(|| half(blake3::hash(key.as_bytes())))
}

/// A span for a publish that its publisher wants to see in a trace, or that begins one here, and none for
/// any other.
fn span_of(door: &Door, requests: &mut [PublishRequest]) -> Span {
    let sampled = requests.iter().find_map(|request| {
        let traceparent = request.message.as_ref()?.traceparent.as_str();
        trace::is_sampled(traceparent).then_some((request, traceparent))
    });
    match sampled {
        None if door.sampling.picks_one_of(requests.len()) => begin_trace(door, requests),
        None => Span::none(),
        Some((request, traceparent)) => {
            tracing::info_span!(target: trace::TARGET, "publish", topic = request.topic, traceparent)
        }
    }
}

/// Begins a trace at the first message that is in none. From here on the message carries it.
fn begin_trace(door: &Door, requests: &mut [PublishRequest]) -> Span {
    let mut publishes = requests
        .iter_mut()
        .filter_map(|request| Some((&request.topic, request.message.as_mut()?)));
    let Some((topic, message)) = publishes.find(|(_, m)| m.traceparent.is_empty()) else {
        return Span::none();
    };
    let span = tracing::info_span!(target: trace::TARGET, "publish", topic);
    if let Some(traceparent) = (door.options.traceparent_of)(&span) {
        message.traceparent = traceparent;
    }
    span
}
