//! What the client subscribes to, and no longer.

use highwater_broker::{Refusal, Result};
use highwater_mqtt::{
    Kind, Packet, PacketId, Qos, ReasonCode, SubscriptionId,
    packet::{FilterAck, Subscribe, Unsubscribe},
};
use highwater_proto::{ErrorCode, limits::SOCKET_SUBSCRIPTIONS_MAX};

use super::Client;
use crate::{
    metrics::Protocol,
    mqtt::{
        reasons::{reason, remarks},
        subscribe::{Opened, Wanted},
        subscriptions::{self, Subscription},
    },
};

impl Client {
    pub(super) fn on_subscribe(&mut self, subscribe: Subscribe) {
        self.wanted = Some(Wanted::of(subscribe, &self.subscriptions));
    }

    /// Subscriptions that were asked for are open, or were refused.
    pub(in super::super) fn on_opened(
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
                if self.subscriptions.is_empty() {
                    // Most clients have no other.
                    self.subscriptions.reserve_exact(1);
                }
                self.subscriptions.push(Subscription {
                    key,
                    text,
                    options,
                    reader,
                    retained,
                    retained_were_sent: false,
                    backlog: Default::default(),
                    sent_before: None,
                    gaps: Vec::new(),
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

    pub(super) fn on_unsubscribe(&mut self, unsubscribe: Unsubscribe) {
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
}
