//! Messages to the client, and its acknowledgements of them.

use std::sync::Arc;

use highwater_broker::{
    Result,
    segment::{Encoding, TopicIdentity},
};
use highwater_mqtt::{
    Packet, PacketId, Qos, ReasonCode, Version,
    packet::{Ack, publish::Delivery as Wire},
    template::TopicAs,
    topic::Name,
};

use super::Client;
use crate::{
    deliver,
    mqtt::{
        message::{Addressed, Record},
        subscriptions::{self, Next},
        window::{Acked, InFlight},
    },
};

impl Client {
    pub(super) fn on_pubrec(&mut self, ack: &Ack) {
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

    pub(super) fn on_acked(&mut self, acked: Acked) {
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
    pub(in super::super) fn release_received(&mut self) {
        let ids: Vec<PacketId> = subscriptions::received(&self.window)
            .map(|m| m.id)
            .collect();
        for id in ids {
            self.out
                .push(Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        }
    }

    /// What one of the subscriptions has read, or why it cannot go on.
    pub(in super::super) fn on_next(&mut self, at: usize, next: Result<Next>) {
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
    pub(in super::super) fn send_backlog(&mut self) {
        for at in 0..self.subscriptions.len() {
            self.send(at);
        }
    }

    fn send(&mut self, at: usize) {
        // Nearly always there is nothing to send.
        let mut now_ms = None;
        while self.out.has_room()
            && let Some(slice) = self.subscriptions[at].backlog.slices.front_mut()
        {
            if slice.start == slice.end {
                self.subscriptions[at].backlog.slices.pop_front();
                continue;
            }
            let now_ms = *now_ms.get_or_insert_with(|| (self.door.clock)());
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
            gaps: &subscription.gaps,
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
        subscription.gaps = Vec::new();
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
