//! Messages from the client: checked, published, and answered when it is known what became of them.

use std::{collections::btree_map::Entry, time::Duration};

use highwater_broker::{Refusal, Result};
use highwater_mqtt::{
    Kind, Packet, PacketId, ReasonCode, Version,
    packet::{
        Ack, Publish, Remarks,
        publish::{Delivery as Wire, Topic},
    },
};
use highwater_proto::{
    client::{PublishRequest, PublishResult},
    limits::{MQTT_RECEIVE_MAX, MQTT_TOPIC_ALIASES_MAX, MQTT_USES_MAX, PUBLISHES_TOGETHER_MAX},
};

use super::{Answer, Client};
use crate::mqtt::{
    message,
    reasons::{reason, remarks},
};

/// Time after which a client that came back has sent again whatever it had not finished.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

impl Client {
    pub(super) fn on_publish(&mut self, mut publish: Publish) {
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
    pub(in super::super) fn next_publishes(&mut self) -> Vec<(Answer, PublishRequest)> {
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
        is_another && self.is_told_receive_max() && under_way >= u32::from(MQTT_RECEIVE_MAX)
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
    pub(in super::super) fn on_outcome(&mut self, answer: Answer, outcome: Result<PublishResult>) {
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
    pub(super) fn on_pubrel(&mut self, ack: &Ack) {
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
}

fn payload_bytes(request: &PublishRequest) -> usize {
    request.message.as_ref().map_or(0, |m| m.payload.len())
}
