//! What is known of one client between two steps of its connection, and what each packet does to it.
//!
//! Nothing here waits: what has to be done outside, publishing, opening subscriptions, writing the session, is
//! put where the loop ([`super::connection`]) finds it.

mod incoming;
mod leaving;
mod outgoing;
mod stored;
mod subscribing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use highwater_broker::{segment::TopicIdentity, session::Uses};
use highwater_mqtt::{
    DecodeError, Packet, PacketId, ReasonCode, Text, Version, packet::Remarks, topic::Name,
};
use highwater_proto::{
    ErrorCode,
    client::PublishRequest,
    close,
    cluster::session::Will,
    ids::SessionId,
    limits::{MQTT_HELD_PACKETS_MAX, MQTT_RECEIVE_MAX, PUBLISH_BYTES_TOGETHER_MAX},
};
use tokio::time::Instant;

use crate::{
    gateway::Door,
    mqtt::{
        aliases::Aliases, outbox::Outbox, saver::Saver, subscribe::Wanted,
        subscriptions::Subscription, window::Window,
    },
    session::Session,
};

/// A client whose CONNECT was accepted.
pub struct Client {
    pub door: Arc<Door>,
    pub version: Version,
    pub login: Session,
    /// The method by which the client may renew its credential (section 4.12).
    pub authentication_method: Option<Text>,
    pub identity: Identity,
    pub expiry_s: u32,
    pub will: Option<Box<Will>>,
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
    pub receiving: BTreeMap<PacketId, bool>,
    /// Those among them that were answered.
    pub unreleased: u32,
    pub aliases_in: BTreeMap<u16, Box<str>>,
    /// Messages that wait to be published, each with how it is answered.
    pub publishes: Vec<(Answer, PublishRequest)>,
    /// The bytes of their payloads.
    pub publish_bytes: usize,
    /// Messages with QoS 1 and 2 that were taken and not answered.
    pub unanswered: u32,
    /// Subscriptions to be opened, one packet at a time.
    pub wanted: Option<Wanted>,
    pub since: Instant,
    /// When a packet came last.
    pub heard: Instant,
    /// Whether the client is read from.
    pub is_listening: bool,
    /// Why the connection ends, as soon as it does.
    pub end: Option<End>,
    /// What is sent when the session was written for the last time.
    pub last_words: Bytes,
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
    /// The client is gone: its will is due.
    Lost,
    /// The same of one that has to go.
    Dismissed(ErrorCode),
    /// The session has another connection, which sees to the rest.
    TakenOver,
    /// The node is about to stop.
    SentAway,
}

impl End {
    /// How a WebSocket says it: 3.1.1 cannot. None where it is the client that has ended the connection.
    pub fn close_code(self) -> Option<(u16, &'static str)> {
        let of = |code: ErrorCode| Some((code.ws_close(), code.name()));
        match self {
            End::Left | End::Lost => None,
            End::Dismissed(code) => of(code),
            End::TakenOver => Some((close::TAKEN_OVER, "taken_over")),
            End::SentAway => of(ErrorCode::Draining),
        }
    }
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
            && (self.is_told_receive_max() || self.unanswered < u32::from(MQTT_RECEIVE_MAX))
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
}
