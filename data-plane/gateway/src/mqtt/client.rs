//! What is known of one client between two steps of its connection, and what each packet does to it.
//!
//! Nothing here waits: what has to be done outside, publishing, opening subscriptions, writing the session, is
//! put where the loop ([`super::connection`]) finds it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use highwater_broker::{
    Refusal, Result,
    segment::{Encoding, Slice, TopicIdentity},
    session::Uses,
};
use highwater_mqtt::{
    DecodeError, Kind, Packet, PacketId, Qos, ReasonCode, SubscriptionId, Text, Version,
    packet::{
        Ack, Auth, Disconnect, FilterAck, Publish, Remarks, Subscribe, Unsubscribe,
        publish::{Delivery as Wire, Topic},
    },
    template::TopicAs,
    topic::Name,
};
use highwater_proto::{
    ErrorCode,
    client::{PublishRequest, PublishResult},
    cluster::{
        self,
        session::{InFlight as StoredInFlight, Place, Subscription as StoredSubscription, Will},
    },
    ids::SessionId,
    limits::{
        MQTT_HELD_PACKETS_MAX, MQTT_RECEIVE_MAX, MQTT_TOPIC_ALIASES_MAX, MQTT_USES_MAX,
        PUBLISH_BYTES_TOGETHER_MAX, PUBLISHES_TOGETHER_MAX, SOCKET_SUBSCRIPTIONS_MAX,
    },
};
use tokio::time::Instant;

use super::{
    aliases::Aliases,
    message::{self, Addressed, Record},
    outbox::Outbox,
    reasons::{reason, remarks},
    saver::Saver,
    subscribe::{Opened, Wanted},
    subscriptions::{self, Next, Subscription},
    window::{Acked, InFlight, Window},
};
use crate::{deliver, gateway::Door, metrics::Protocol, session::Session};

/// Time after which a client that came back has sent again whatever it had not finished.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// A client whose CONNECT was accepted.
pub struct Client {
    pub door: Arc<Door>,
    pub version: Version,
    pub login: Session,
    /// The method by which the client may renew its credential (section 4.12).
    pub authentication_method: Option<Text>,
    pub identity: Identity,
    pub expiry_s: u32,
    pub will: Option<Will>,
    /// The longest silence, one and a half times the keep alive (MQTT-3.1.2-22).
    pub silence_max: Option<Duration>,
    pub out: Outbox,
    pub uses: Uses,
    pub window: Window,
    pub subscriptions: Vec<Subscription>,
    pub saver: Saver,
    pub aliases_out: Aliases,
    /// The topic of the last message that was sent, which is often that of the next one.
    pub topic: Option<(Arc<TopicIdentity>, Name)>,
    pub next_key: u32,
    /// Messages of QoS 2 from the client whose identifiers are in use: whether they were answered.
    pub receiving: HashMap<PacketId, bool>,
    /// Those among them that were answered.
    pub unreleased: usize,
    pub aliases_in: HashMap<u16, Box<str>>,
    /// Messages that wait to be published, each with how it is answered.
    pub publishes: Vec<(Answer, PublishRequest)>,
    /// The bytes of their payloads.
    pub publish_bytes: usize,
    /// Messages with QoS 1 and 2 that were taken and not answered.
    pub unanswered: usize,
    /// Subscriptions to be opened, one packet at a time.
    pub wanted: Option<Wanted>,
    pub since: Instant,
    /// When a packet came last.
    pub heard: Instant,
    /// Whether the client is read from.
    pub is_listening: bool,
    /// Why the connection ends, as soon as it does.
    pub end: Option<End>,
}

/// Whose session it is.
pub struct Identity {
    pub client_id: Box<str>,
    pub session: SessionId,
    pub epoch: u64,
    /// Names the client to itself in the messages it publishes.
    pub origin: Bytes,
}

/// How a message is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    PubAck(PacketId),
    PubRec {
        id: PacketId,
        /// It may have been taken on an earlier connection.
        is_again: bool,
    },
}

impl Answer {
    fn is_again(self) -> bool {
        matches!(self, Answer::PubRec { is_again: true, .. })
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client said goodbye: its will is void (MQTT-3.14.4-3).
    Left,
    /// The client is gone, or has to go: its will is due.
    Lost,
    /// The session has another connection, which sees to the rest.
    TakenOver,
    /// The node is about to stop.
    SentAway,
}

impl Client {
    /// Whether another packet of the client is looked at.
    pub fn may_take(&self, can_send: bool) -> bool {
        self.end.is_none()
            && can_send
            && self.wanted.is_none()
            && self.out.has_room()
            && self.publishes.len() < usize::from(MQTT_RECEIVE_MAX)
            && self.publish_bytes < PUBLISH_BYTES_TOGETHER_MAX
            && (self.is_told_receive_max() || self.unanswered < usize::from(MQTT_RECEIVE_MAX))
            && self.saver.waiting() < MQTT_HELD_PACKETS_MAX
    }

    /// A client that was told how many messages it may have under way is held to it. Another one is only read
    /// as fast as its messages are answered.
    fn is_told_receive_max(&self) -> bool {
        self.version == Version::V5
    }

    pub fn on_packet(&mut self, packet: Packet) {
        self.heard = Instant::now();
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubAck(ack) => {
                let acked = self.window.on_puback(ack.packet_id);
                self.on_acked(acked);
            }
            Packet::PubRec(ack) => self.on_pubrec(&ack),
            Packet::PubRel(ack) => self.on_pubrel(&ack),
            Packet::PubComp(ack) => {
                let acked = self.window.on_pubcomp(ack.packet_id);
                self.on_acked(acked);
            }
            Packet::Subscribe(subscribe) => self.on_subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(unsubscribe),
            Packet::PingReq => self.out.push(Packet::PingResp),
            Packet::Disconnect(disconnect) => self.on_disconnect(&disconnect),
            Packet::Auth(auth) => self.on_auth(&auth),
            // The decoder lets no others through.
            _ => self.leave(ReasonCode::ProtocolError, Remarks::default()),
        }
    }

    pub fn on_malformed(&mut self, error: DecodeError) {
        let text = Text::try_from(error.to_string());
        self.leave(
            error.reason(),
            text.map(Remarks::because).unwrap_or_default(),
        );
    }

    // ---- messages from the client ----

    fn on_publish(&mut self, mut publish: Publish) {
        let delivery = publish.delivery;
        let topic = match self.topic_of(&mut publish.topic) {
            Ok(topic) => topic,
            Err(Some(reason)) => return self.leave(reason, Remarks::default()),
            Err(None) => return self.refuse_publish(delivery, ReasonCode::TopicNameInvalid),
        };
        if !publish.payload_has_its_format() {
            return self.refuse_publish(delivery, ReasonCode::PayloadFormatInvalid);
        }
        if self.exceeds_receive_max(delivery) {
            return self.leave(ReasonCode::ReceiveMaxExceeded, Remarks::default());
        }
        let answer = match delivery {
            Wire::AtMostOnce => Answer::Nothing,
            Wire::AtLeastOnce { id, .. } => Answer::PubAck(id),
            Wire::ExactlyOnce { id, dup } => match self.receiving.entry(id) {
                Entry::Vacant(free) => {
                    free.insert(false);
                    Answer::PubRec { id, is_again: dup }
                }
                // Sent again, since the client has not heard of it: once it is answered, so is this.
                Entry::Occupied(known) if !known.get() => return,
                Entry::Occupied(_) => {
                    return self.acknowledge(Packet::PubRec(Ack::new(id, ReasonCode::Success)));
                }
            },
        };
        let mut request = message::of_publish(publish, &topic, &self.identity.origin);
        match answer {
            Answer::Nothing => {}
            Answer::PubAck(_) => self.unanswered += 1,
            Answer::PubRec { id, .. } => {
                self.unanswered += 1;
                // The identifier is the client's, and the client's alone: no other key can be meant.
                request.idempotency_key = self.use_of(id);
            }
        }
        self.publish_bytes += payload_bytes(&request);
        self.publishes.push((answer, request));
    }

    /// The messages that are published next, together.
    pub fn next_publishes(&mut self) -> Vec<(Answer, PublishRequest)> {
        let count = self.publishes.len().min(PUBLISHES_TOGETHER_MAX);
        let rest = self.publishes.split_off(count);
        let next = std::mem::replace(&mut self.publishes, rest);
        let bytes: usize = next.iter().map(|(_, request)| payload_bytes(request)).sum();
        self.publish_bytes -= bytes;
        next
    }

    /// Whether this is one more message under way than the client may have (MQTT-3.3.4-7): with QoS 1 until it is
    /// acknowledged, with QoS 2 until it is released.
    fn exceeds_receive_max(&self, delivery: Wire) -> bool {
        let is_another = match delivery {
            Wire::AtMostOnce => false,
            Wire::AtLeastOnce { .. } => true,
            Wire::ExactlyOnce { id, .. } => !self.receiving.contains_key(&id),
        };
        let under_way = self.unanswered + self.unreleased;
        is_another && self.is_told_receive_max() && under_way >= usize::from(MQTT_RECEIVE_MAX)
    }

    /// Names one use of a packet identifier.
    fn use_of(&self, id: PacketId) -> String {
        let session = self.identity.session;
        format!("{session}/{}/{}", id.get(), self.uses.of(id.get()))
    }

    /// The topic's name. Without one the connection ends with the reason; without a reason, the name is not
    /// valid.
    fn topic_of(&mut self, topic: &mut Topic) -> Result<Box<str>, Option<ReasonCode>> {
        let invalid = Some(ReasonCode::TopicAliasInvalid);
        if topic
            .alias()
            .is_some_and(|alias| alias.get() > MQTT_TOPIC_ALIASES_MAX)
        {
            return Err(invalid);
        }
        match topic {
            Topic::Name(name, alias) => {
                let name: Box<str> = name.as_str().into();
                if let Some(alias) = alias {
                    self.aliases_in.insert(alias.get(), name.clone());
                }
                Ok(name)
            }
            Topic::Alias(alias) => self.aliases_in.get(&alias.get()).cloned().ok_or(invalid),
            Topic::Invalid(..) => Err(None),
        }
    }

    /// Refuses a message before it is tried.
    fn refuse_publish(&mut self, delivery: Wire, reason: ReasonCode) {
        match (delivery, self.version) {
            (Wire::AtLeastOnce { id, .. }, Version::V5) => {
                self.acknowledge(Packet::PubAck(Ack::new(id, reason)))
            }
            (Wire::ExactlyOnce { id, .. }, Version::V5) => {
                self.acknowledge(Packet::PubRec(Ack::new(id, reason)))
            }
            _ => self.leave(reason, Remarks::default()),
        }
    }

    /// Whether a refusal cannot be the answer to a message, so that the client has to ask again, under the same
    /// identifier, when it is back.
    fn cannot_say_no(&self, answer: Answer, refusal: &Refusal) -> bool {
        let code = refusal.code();
        // Nobody knows whether it was appended; or it may have been before, which only the next attempt tells.
        let is_unknown = !code.has_no_side_effects() || answer.is_again() && code.is_retryable();
        // 3.1.1 has no way to say no: to say nothing and end the connection is all there is.
        is_unknown || self.version == Version::V3_1_1
    }

    /// What became of a message.
    pub fn on_outcome(&mut self, answer: Answer, outcome: Result<PublishResult>) {
        let (id, kind) = match answer {
            Answer::Nothing => return,
            Answer::PubAck(id) => (id, Kind::PubAck),
            Answer::PubRec { id, .. } => (id, Kind::PubRec),
        };
        self.unanswered -= 1;
        let ack = match &outcome {
            Ok(_) => Ack::new(id, ReasonCode::Success),
            Err(refusal) if self.cannot_say_no(answer, refusal) => {
                // What came after it comes again after it.
                self.publishes.clear();
                self.publish_bytes = 0;
                return self.dismiss(refusal);
            }
            Err(refusal) => Ack {
                packet_id: id,
                reason: reason(refusal, kind),
                remarks: remarks(refusal),
            },
        };
        match kind {
            Kind::PubAck => self.acknowledge(Packet::PubAck(ack)),
            _ => {
                match outcome.is_ok() {
                    true => {
                        self.receiving.insert(id, true);
                        self.unreleased += 1;
                    }
                    // The identifier is free to be used. If nothing can have been appended under this use of it, by
                    // the next message; otherwise that one must not be taken for this.
                    false => {
                        self.receiving.remove(&id);
                        if answer.is_again() {
                            self.uses.release(id.get());
                            return self.hold(Packet::PubRec(ack));
                        }
                    }
                }
                self.acknowledge(Packet::PubRec(ack));
            }
        }
    }

    /// The client has our word, and may use the identifier for another message once it has this answer.
    fn on_pubrel(&mut self, ack: &Ack) {
        let id = ack.packet_id;
        match self.receiving.remove(&id) {
            // It cannot be released before it was received.
            Some(false) => {
                self.receiving.insert(id, false);
                return self.leave(ReasonCode::ProtocolError, Remarks::default());
            }
            Some(true) => {
                self.unreleased -= 1;
                self.uses.release(id.get());
            }
            // It may have been received by another node.
            None => self.uses.release(id.get()),
        }
        self.level_uses();
        let complete = Packet::PubComp(Ack::new(id, ReasonCode::Success));
        self.hold(complete);
    }

    /// Uses that are too unlike each other are made alike, when nothing is in use. A client that has just
    /// come back may be about to send what another node has seen.
    fn level_uses(&mut self) {
        if self.uses.runs() > MQTT_USES_MAX
            && self.receiving.is_empty()
            && self.since.elapsed() > SETTLED_AFTER
        {
            self.uses.level();
        }
    }

    // ---- messages to the client ----

    fn on_pubrec(&mut self, ack: &Ack) {
        match self
            .window
            .on_pubrec(ack.packet_id, ack.reason.is_failure())
        {
            Acked::Received(message) => {
                self.ack_shared(&message);
                let release = Packet::PubRel(Ack::new(ack.packet_id, ReasonCode::Success));
                self.hold(release);
            }
            done @ Acked::Done(_) => self.on_acked(done),
            Acked::Unknown => {
                let reason = match self.version {
                    Version::V5 => ReasonCode::PacketIdNotFound,
                    Version::V3_1_1 => ReasonCode::Success,
                };
                self.acknowledge(Packet::PubRel(Ack::new(ack.packet_id, reason)));
            }
        }
    }

    fn on_acked(&mut self, acked: Acked) {
        if let Acked::Done(message) = acked {
            self.ack_shared(&message);
            self.saver.lag();
        }
    }

    /// The group of a shared subscription is told that a message has arrived.
    fn ack_shared(&mut self, message: &InFlight) {
        let mut subscriptions = self.subscriptions.iter_mut();
        if let Some(subscription) = subscriptions.find(|s| s.key == message.subscription) {
            subscription.ack(message.place);
        }
    }

    /// What a client that came back had received, and has not been told to release.
    pub fn release_received(&mut self) {
        let ids: Vec<PacketId> = subscriptions::received(&self.window)
            .map(|m| m.id)
            .collect();
        for id in ids {
            self.out
                .push(Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        }
    }

    /// What one of the subscriptions has read, or why it cannot go on.
    pub fn on_next(&mut self, at: usize, next: Result<Next>) {
        match next {
            Ok(next) => self.subscriptions[at].take(next, &mut self.window),
            // MQTT has no way to end one subscription of several.
            Err(refusal) => return self.dismiss(&refusal),
        }
        // The one that has just had its turn is the last to have the next.
        let last = self.subscriptions.len() - 1;
        self.subscriptions.swap(at, last);
        self.send(last);
    }

    /// Sends what was read and not sent, as far as there is room.
    pub fn send_backlog(&mut self) {
        for at in 0..self.subscriptions.len() {
            self.send(at);
        }
    }

    fn send(&mut self, at: usize) {
        let now_ms = (self.door.clock)();
        while self.out.has_room()
            && let Some(slice) = self.subscriptions[at].backlog.slices.front_mut()
        {
            if slice.start == slice.end {
                self.subscriptions[at].backlog.slices.pop_front();
                continue;
            }
            if !self.send_first(at, now_ms) {
                break;
            }
            if let Some(slice) = self.subscriptions[at].backlog.slices.front_mut() {
                slice.start += 1;
            }
        }
        let subscription = &mut self.subscriptions[at];
        if subscription.catch_up(&mut self.window) {
            self.saver.lag();
        }
    }

    /// Sends the first record of a backlog, unless the client's window is full.
    fn send_first(&mut self, at: usize, now_ms: u64) -> bool {
        let Client {
            window,
            subscriptions,
            out,
            saver,
            version,
            login,
            door,
            identity,
            aliases_out,
            topic,
            ..
        } = self;
        let subscription = &mut subscriptions[at];
        let cursors = &subscription.backlog.cursors;
        let slice = &subscription.backlog.slices[0];
        let (segment, index) = (&slice.segment, slice.start);
        let project = &login.principal().project;
        let shard = project.shard_of(&segment.topic.name);
        let is_retained = subscription.backlog.is_retained;
        let place = subscription.place(shard, cursors, slice, index);
        // It comes once more, as a record like any other.
        if is_retained && !subscriptions::is_before(place, &subscription.reader.position()) {
            return true;
        }
        let record = Record::read(deliver::record(
            &door.broker,
            project,
            Encoding::Mqtt,
            cursors,
            slice,
            index,
        ));
        let options = subscription.options;
        if options.no_local && record.origin == identity.origin {
            return true;
        }
        let retain = is_retained || options.retain_as_published && record.retain;
        let Some(name) = name_of(topic, &segment.topic) else {
            return true;
        };
        let qos = options.qos.min(record.qos);
        let was_sent = match is_retained {
            true => subscription.retained_were_sent,
            false => subscription.was_sent_before(place),
        };
        let record_of = (place, is_retained);
        let may_be_again = was_sent || is_retained;
        if may_be_again && window.has_to_wait(subscription.key, record_of) {
            return false;
        }
        let resent = match may_be_again {
            true => window.resend(subscription.key, record_of),
            false => None,
        };
        let delivery = match (resent.map(|message| (message.id, message.qos)), qos) {
            (Some((id, Qos::ExactlyOnce)), _) => Wire::ExactlyOnce { id, dup: true },
            (Some((id, _)), _) => Wire::AtLeastOnce { id, dup: true },
            // Acknowledged before the client came back, or sent with QoS 0.
            (None, _) if was_sent => return true,
            (None, Qos::AtMostOnce) => Wire::AtMostOnce,
            (None, _) if window.room() == 0 => return false,
            (None, qos) => {
                let id = window.open(qos, subscription.key, place, is_retained);
                match qos {
                    Qos::ExactlyOnce => Wire::ExactlyOnce { id, dup: false },
                    _ => Wire::AtLeastOnce { id, dup: false },
                }
            }
        };
        // An exact delivery is known to the session before the client can have it: another node has to send
        // it under the same identifier.
        let is_held = saver.is_kept && matches!(delivery, Wire::ExactlyOnce { dup: false, .. });
        let addressed = Addressed {
            delivery,
            retain,
            topic: match is_held {
                // Others may overtake a packet that waits, and must not use an alias before it is given.
                true => aliases_out.known(name.as_str()),
                false => aliases_out.name(name.as_str()),
            },
            subscription_id: options.id,
            gap: subscription.gap.as_deref(),
        };
        let (end, packet_bytes_max) = out.end();
        let before = end.len();
        let is_encoded = record.encode((*version, name), &addressed, now_ms, packet_bytes_max, end);
        if !is_encoded {
            // As if it had been sent and acknowledged (section 3.1.2.11.4).
            if let Some(id) = delivery.packet_id() {
                window.forget(id);
            }
            if let TopicAs::NameAndAlias(alias) = addressed.topic {
                aliases_out.forget(alias);
            }
            subscription.ack(place);
            return true;
        }
        subscription.gap = None;
        if delivery.packet_id().is_none() {
            subscription.ack(place);
        }
        if is_held {
            let packet = end.split_off(before).freeze();
            if let Some(packet) = saver.hold(packet) {
                out.push_bytes(&packet);
            }
        } else {
            saver.lag();
        }
        true
    }

    // ---- subscriptions ----

    fn on_subscribe(&mut self, subscribe: Subscribe) {
        self.wanted = Some(Wanted::of(subscribe, &self.subscriptions));
    }

    /// Subscriptions that were asked for are open, or were refused.
    pub fn on_opened(
        &mut self,
        packet_id: PacketId,
        id: Option<SubscriptionId>,
        opened: Vec<Result<Opened>>,
    ) {
        let mut why = None;
        let reasons = opened
            .into_iter()
            .map(|opened| {
                let granted = opened.and_then(|opened| self.add(opened, id));
                match granted {
                    Ok(Qos::AtMostOnce) => ReasonCode::Success,
                    Ok(Qos::AtLeastOnce) => ReasonCode::GrantedQos1,
                    Ok(Qos::ExactlyOnce) => ReasonCode::GrantedQos2,
                    Err(refusal) => {
                        self.door.metrics.refused(Protocol::Mqtt, &refusal);
                        let reason = reason(&refusal, Kind::SubAck);
                        why.get_or_insert_with(|| remarks(&refusal));
                        reason
                    }
                }
            })
            .collect();
        let mut ack = FilterAck::new(packet_id, reasons);
        ack.remarks = why.unwrap_or_default();
        self.hold(Packet::SubAck(ack));
    }

    /// Adds a subscription, or changes the one with the same filter.
    fn add(&mut self, opened: Opened, id: Option<SubscriptionId>) -> Result<Qos> {
        let Opened {
            text,
            asked,
            reader,
            retained,
        } = opened;
        let options = subscriptions::Options::of(&asked, id);
        let known = self.subscriptions.iter_mut().find(|s| s.text == text);
        match (known, reader) {
            (Some(known), reader) => {
                known.options = options;
                if let Some(reader) = reader {
                    known.reader = reader;
                    known.sent_before = None;
                    known.backlog = Default::default();
                }
                if retained.is_some() {
                    known.retained = retained;
                    known.retained_were_sent = false;
                }
            }
            (None, Some(reader)) => {
                if self.subscriptions.len() >= SOCKET_SUBSCRIPTIONS_MAX {
                    let message = "a connection has at most 256 subscriptions";
                    return Err(Refusal::new(ErrorCode::QuotaExceeded, message));
                }
                let key = self.next_key;
                self.next_key += 1;
                self.subscriptions.push(Subscription {
                    key,
                    text,
                    options,
                    reader,
                    retained,
                    retained_were_sent: false,
                    backlog: Default::default(),
                    sent_before: None,
                    gap: None,
                });
            }
            // It was there when the packet came, and nothing was looked at since.
            (None, None) => {
                let message = "the subscription was ended meanwhile";
                return Err(Refusal::new(ErrorCode::Internal, message));
            }
        }
        Ok(options.qos)
    }

    fn on_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let reasons = unsubscribe
            .filters
            .iter()
            .map(|filter| match filter {
                Err(_) => ReasonCode::TopicFilterInvalid,
                Ok(filter) => {
                    let known = self
                        .subscriptions
                        .iter()
                        .position(|s| &*s.text == filter.as_str());
                    match known {
                        None => ReasonCode::NoSubscriptionExisted,
                        Some(at) => {
                            let gone = self.subscriptions.swap_remove(at);
                            for is_retained in [false, true] {
                                self.window.forget_unsent(gone.key, is_retained);
                            }
                            ReasonCode::Success
                        }
                    }
                }
            })
            .collect();
        let ack = FilterAck::new(unsubscribe.packet_id, reasons);
        self.hold(Packet::UnsubAck(ack));
    }

    // ---- the session ----

    /// The session as it is now.
    pub fn stored(&self) -> cluster::Session {
        let principal = self.login.principal();
        let shard_of = |slice: &Slice| principal.project.shard_of(&slice.segment.topic.name);
        let seal = |cursor| subscriptions::seal(&self.door.broker, principal, &cursor);
        let window = &self.window;
        let subscriptions = self.subscriptions.iter().map(|s| StoredSubscription {
            filter: s.text.to_string(),
            qos: s.options.qos as u32,
            no_local: s.options.no_local,
            retain_as_published: s.options.retain_as_published,
            id: s.options.id.map_or(0, SubscriptionId::get),
            cursor: seal(s.floor(window, shard_of)),
            sent: seal(s.sent(shard_of)),
            owes_retained: s.owes_retained()
                || window
                    .iter()
                    .any(|m| m.subscription == s.key && m.is_retained && !m.is_received),
            sent_retained: !s.owes_retained(),
        });
        let index_of = |key| self.subscriptions.iter().position(|s| s.key == key);
        let in_flight = window.iter().filter_map(|message| {
            // Of a subscription that is gone, the identifier is left to release; and what a group's member had not
            // acknowledged is for another.
            let index = index_of(message.subscription)
                .filter(|at| !self.subscriptions[*at].reader.is_shared());
            let index = match index {
                Some(index) => index as u32,
                None if message.is_received => u32::MAX,
                None => return None,
            };
            Some(StoredInFlight {
                packet_id: message.id.get().into(),
                subscription: index,
                shard: message.place.shard.0,
                at: message.place.at,
                received: message.is_received,
                qos: message.qos as u32,
                retained: message.is_retained,
            })
        });
        cluster::Session {
            project: Bytes::copy_from_slice(principal.project.id.as_bytes()),
            client_id: self.identity.client_id.to_string(),
            id: Bytes::copy_from_slice(self.identity.session.as_bytes()),
            epoch: self.identity.epoch,
            key: Bytes::copy_from_slice(principal.key.as_bytes()),
            expiry_s: self.expiry_s,
            connected: Some(stored_home(&self.door)),
            disconnected_at_ms: 0,
            will: self.will.clone(),
            subscriptions: subscriptions.collect(),
            in_flight: in_flight.collect(),
            received: Some(self.uses.store()),
            was_sent_away: false,
        }
    }

    /// Sends a packet once the session as it is now is durable.
    fn hold(&mut self, packet: Packet) {
        let packet = self.out.encode(packet);
        if let Some(packet) = self.saver.hold(packet) {
            self.say(&packet);
        }
    }

    /// Sends a packet that was encoded before. Nothing follows a DISCONNECT.
    pub fn say(&mut self, packet: &[u8]) {
        if self.end.is_none() {
            self.out.push_bytes(packet);
        }
    }

    // ---- who the client is, and how it goes ----

    /// Renews the credential (section 4.12.1).
    fn on_auth(&mut self, auth: &Auth) {
        let Some(method) = &self.authentication_method else {
            return self.leave(ReasonCode::ProtocolError, Remarks::default());
        };
        let said = auth.authentication.as_ref();
        let is_renewal = auth.reason == ReasonCode::ReAuthenticate
            && said.is_some_and(|said| said.method == *method);
        if !is_renewal {
            return self.leave(ReasonCode::ProtocolError, Remarks::default());
        }
        let data = said.and_then(|said| said.data.as_ref());
        let credential = data.and_then(|data| std::str::from_utf8(data.as_bytes()).ok());
        match self
            .login
            .replace(&self.door, credential.unwrap_or_default())
        {
            Ok(()) => {
                let done = Auth::new(ReasonCode::Success, method.clone(), None);
                self.out.push(Packet::Auth(done));
                self.recheck_subscriptions();
            }
            Err(refusal) => self.dismiss(&refusal),
        }
    }

    /// Checks the credential and what it allows again.
    pub fn recheck(&mut self) {
        match self.login.refresh(&self.door).map(drop) {
            Ok(()) => self.recheck_subscriptions(),
            Err(refusal) => self.dismiss(&refusal),
        }
    }

    /// MQTT has no way to end one subscription of several, so the connection ends with it.
    pub fn recheck_subscriptions(&mut self) {
        let principal = self.login.principal();
        let mut refused = self
            .subscriptions
            .iter()
            .filter_map(|s| s.reader.recheck(principal).err());
        if let Some(refusal) = refused.next() {
            drop(refused);
            self.dismiss(&refusal);
        }
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect) {
        if let Some(expiry_s) = disconnect.session_expiry_s {
            if self.expiry_s == 0 && expiry_s != 0 {
                return self.leave(ReasonCode::ProtocolError, Remarks::default());
            }
            self.expiry_s = expiry_s;
        }
        self.end = Some(match disconnect.reason {
            ReasonCode::Success => End::Left,
            _ => End::Lost,
        });
    }

    /// The client was silent for too long.
    pub fn on_silence(&mut self) {
        self.leave(ReasonCode::KeepAliveTimeout, Remarks::default());
    }

    pub fn on_taken_over(&mut self) {
        self.say_goodbye(ReasonCode::SessionTakenOver, Remarks::default());
        self.end = Some(End::TakenOver);
    }

    pub fn send_away(&mut self) {
        self.say_goodbye(ReasonCode::ServerShuttingDown, Remarks::default());
        self.end = Some(End::SentAway);
    }

    /// Ends the connection because of something that cannot be answered in another way.
    pub fn dismiss(&mut self, refusal: &Refusal) {
        self.door.metrics.refused(Protocol::Mqtt, refusal);
        if refusal.code() == ErrorCode::PreconditionFailed {
            return self.on_taken_over();
        }
        self.leave(reason(refusal, Kind::Disconnect), remarks(refusal));
    }

    /// Ends the connection; whatever was said before is said again when the client is back.
    fn leave(&mut self, reason: ReasonCode, remarks: Remarks) {
        self.say_goodbye(reason, remarks);
        self.end = Some(End::Lost);
    }

    /// The reason is said in words too: Paho reads no reason code of a packet that ends with it.
    fn say_goodbye(&mut self, reason: ReasonCode, remarks: Remarks) {
        if self.end.is_none() && self.version == Version::V5 {
            let mut disconnect = Disconnect::new(reason);
            disconnect.remarks = match remarks.is_empty() {
                true => Remarks::because(Text::from_static(reason.name())),
                false => remarks,
            };
            self.out.push(Packet::Disconnect(disconnect));
        }
    }

    /// Nothing follows a DISCONNECT: what could not be answered is asked again.
    fn acknowledge(&mut self, packet: Packet) {
        if self.end.is_none() {
            self.out.push(packet);
        }
    }

    /// The socket is of no use any more.
    pub fn on_broken(&mut self) {
        self.end.get_or_insert(End::Lost);
        self.out.discard();
    }
}

/// A topic's name as MQTT has it.
fn name_of(
    last: &mut Option<(Arc<TopicIdentity>, Name)>,
    topic: &Arc<TopicIdentity>,
) -> Option<Name> {
    match last {
        Some((known, name)) if Arc::ptr_eq(known, topic) => Some(name.clone()),
        _ => {
            let name = Name::try_from(topic.name.as_str()).ok()?;
            *last = Some((topic.clone(), name.clone()));
            Some(name)
        }
    }
}

/// This node, as a session names the place of its connection.
pub fn stored_home(door: &Door) -> Place {
    let home = door.home();
    Place {
        node: home.node,
        started_at_ms: home.started_at_ms,
    }
}

fn payload_bytes(request: &PublishRequest) -> usize {
    request.message.as_ref().map_or(0, |m| m.payload.len())
}
