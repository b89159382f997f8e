//! What client and server say to each other, in either subprotocol.

use bytes::{Bytes, BytesMut};
use highwater_broker::{
    Broker, Refusal, Result,
    catalogue::Project,
    subscription::{Delivery, Gap},
};
use highwater_proto::{
    ErrorCode,
    client::{PublishRequest, PublishResult},
};
use highwater_websocket::{Event, Opcode};

use super::{json, proto};

/// One of the subprotocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// `highwater.v1.json`, in text messages.
    Json,
    /// `highwater.v1.proto`, in binary messages.
    Proto,
}

/// What a client calls a request or a subscription: in JSON a string or a number as it was written, in
/// protobuf a string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Id(pub Box<str>);

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Use this credential from now on.
    Auth { credential: String },
    /// Begin a subscription.
    Subscribe {
        topics: Vec<String>,
        from: String,
        /// Messages and bytes; 0 is without limit.
        credit: (u64, u64),
        /// The group to join; empty for none.
        group: String,
    },
    /// End the subscription with this id.
    Unsubscribe,
    /// Publish a message.
    Publish(Box<PublishRequest>),
    /// Add credit to the subscription with this id.
    Flow { messages: u64, bytes: u64 },
    /// A member of a group is done with these records, or gives them back.
    Ack {
        cursors: Vec<String>,
        is_returned: bool,
    },
    /// Answer with a pong.
    Ping,
}

/// What a client is told, beside its deliveries.
#[derive(Debug, Clone, Copy)]
pub enum Reply<'a> {
    Hello {
        connection: &'a str,
        heartbeat_ms: u64,
    },
    Authenticated,
    Subscribed {
        cursor: &'a str,
    },
    Unsubscribed {
        cursor: &'a str,
    },
    Published(&'a PublishResult),
    Gap(&'a Gap),
    Refused(&'a Refusal),
    Draining {
        reconnect_after_ms: u64,
    },
    /// The credential is good until then.
    AuthExpiring {
        expires_at_ms: u64,
    },
    Pong,
}

impl Codec {
    /// The kind of message it is in.
    pub fn opcode(self) -> Opcode {
        match self {
            Codec::Json => Opcode::Text,
            Codec::Proto => Opcode::Binary,
        }
    }

    /// A client's message. A request that is understood can still be refused by itself.
    ///
    /// # Errors
    /// `invalid_request` when the message is none of the subprotocol's, and `unsupported` when it is not even of its
    /// kind; there is no going on.
    pub fn decode(self, event: Event) -> Result<(Id, Result<Request>)> {
        match (self, event) {
            (Codec::Json, Event::Text(text)) => json::decode(&text.into_bytes()),
            (Codec::Proto, Event::Binary(bytes)) => proto::decode(bytes),
            (Codec::Json, _) => Err(unsupported("this subprotocol has text messages only")),
            (Codec::Proto, _) => Err(unsupported("this subprotocol has binary messages only")),
        }
    }

    /// Writes a reply.
    pub fn encode(self, id: &Id, reply: Reply<'_>, buf: &mut BytesMut) {
        match self {
            Codec::Json => json::encode(id, reply, buf),
            Codec::Proto => proto::encode(id, reply, buf),
        }
    }

    /// The messages that carry the records of a delivery, each in pieces. The pieces between the first
    /// and the last are shared with other subscribers.
    pub fn deliver(
        self,
        (broker, project): (&Broker, &Project),
        subscription: &Id,
        delivery: &Delivery,
    ) -> Vec<Vec<Bytes>> {
        match self {
            Codec::Json => json::deliver(broker, project, subscription, delivery),
            Codec::Proto => proto::deliver(broker, project, subscription, delivery),
        }
    }
}

fn unsupported(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Unsupported, message)
}

pub fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}
