//! The session as it is stored, and what waits until it is.

use bytes::Bytes;
use highwater_broker::{segment::Slice, session};
use highwater_mqtt::{Packet, SubscriptionId};
use highwater_proto::cluster::{
    self,
    session::{InFlight as StoredInFlight, Subscription as StoredSubscription},
};

use super::Client;
use crate::mqtt::subscriptions;

impl Client {
    /// The session as it is now.
    pub(in super::super) fn stored(&self) -> cluster::Session {
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
        let mut session = cluster::Session {
            client_id: self.identity.client_id.to_string(),
            id: Bytes::copy_from_slice(self.identity.session.as_bytes()),
            epoch: self.identity.epoch,
            expiry_s: self.expiry_s,
            connected: Some(self.door.home().into()),
            disconnected_at_ms: 0,
            will: self.will.as_deref().cloned(),
            subscriptions: subscriptions.collect(),
            in_flight: in_flight.collect(),
            received: Some(self.uses.store()),
            was_sent_away: false,
            ..cluster::Session::default()
        };
        session::set_owner(&mut session, principal);
        session
    }

    /// Sends a packet once the session as it is now is durable.
    pub(super) fn hold(&mut self, packet: Packet) {
        let packet = self.out.encode(packet);
        if let Some(packet) = self.saver.hold(packet) {
            self.say(&packet);
        }
    }

    /// Sends a packet that was encoded before. Nothing follows a DISCONNECT.
    pub(in super::super) fn say(&mut self, packet: &[u8]) {
        if self.end.is_none() {
            self.out.push_bytes(packet);
        }
    }
}
