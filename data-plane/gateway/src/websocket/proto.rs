//! `highwater.v1.proto`: each message is a `SocketRequest` or a `SocketResponse`.

use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::{
    Broker, Result, catalogue::Project, segment::Encoding, subscription::Delivery,
};
use highwater_proto::{
    client::{
        AuthExpiring, Draining, SocketRequest, SocketResponse, SubscribeResponse, Subscribed,
        socket_request::Request as Kind,
        socket_response::{Authenticated, Hello, Pong, Response},
    },
    codec,
    limits::{
        SOCKET_DELIVERY_BYTES_MAX, SOCKET_ID_BYTES_MAX, SOCKET_MESSAGE_BYTES_MAX,
        SOCKET_SUBSCRIPTIONS_MAX,
    },
};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};

use super::codec::{Id, Reply, Request, invalid};
use crate::{
    deliver::{self, proto::gap_message},
    grpc::status::to_message,
};

/// Reads a client's message.
pub fn decode(bytes: Bytes) -> Result<(Id, Result<Request>)> {
    let decoded = codec::decode::<SocketRequest>(bytes);
    let request = decoded.map_err(|_| invalid("the message is no `SocketRequest`"))?;
    let request = request.ok_or_else(|| invalid("the message has too many fields"))?;
    if request.id.len() > SOCKET_ID_BYTES_MAX {
        return Err(invalid("an id is a short string"));
    }
    let id = Id(request.id.into());
    let request = match request.request {
        Some(Kind::Auth(auth)) => Request::Auth {
            credential: auth.credential,
        },
        Some(Kind::Subscribe(start)) => {
            let credit = start.credit.unwrap_or_default();
            Request::Subscribe {
                topics: start.topics,
                from: start.from,
                credit: (credit.messages, credit.bytes),
                group: start.group,
            }
        }
        Some(Kind::Unsubscribe(_)) => Request::Unsubscribe,
        Some(Kind::Publish(publish)) => Request::Publish(Box::new(publish)),
        Some(Kind::Flow(flow)) => Request::Flow {
            messages: flow.messages,
            bytes: flow.bytes,
        },
        Some(Kind::Ack(acks)) => Request::Ack {
            cursors: acks.cursors,
            is_returned: false,
        },
        Some(Kind::Nack(acks)) => Request::Ack {
            cursors: acks.cursors,
            is_returned: true,
        },
        Some(Kind::Ping(_)) => Request::Ping,
        None => return Err(invalid("the message asks for nothing that is known here")),
    };
    Ok((id, Ok(request)))
}

/// Writes a reply.
pub fn encode(id: &Id, reply: Reply<'_>, buf: &mut BytesMut) {
    let subscribed = |cursor: &str| Subscribed {
        cursor: cursor.to_owned(),
    };
    let response = match reply {
        Reply::Hello {
            connection,
            heartbeat_ms,
        } => Response::Hello(Hello {
            connection: connection.to_owned(),
            heartbeat_ms,
            message_bytes_max: SOCKET_MESSAGE_BYTES_MAX as u64,
            subscriptions_max: SOCKET_SUBSCRIPTIONS_MAX as u64,
        }),
        Reply::Authenticated => Response::Authenticated(Authenticated {}),
        Reply::Subscribed { cursor } => Response::Subscribed(subscribed(cursor)),
        Reply::Unsubscribed { cursor } => Response::Unsubscribed(subscribed(cursor)),
        Reply::Published(result) => Response::Published(result.clone()),
        Reply::Gap(gap) => Response::Delivery(SubscribeResponse {
            gap: Some(gap_message(gap)),
            ..SubscribeResponse::default()
        }),
        Reply::Refused(refusal) => Response::Error(to_message(refusal)),
        Reply::Draining { reconnect_after_ms } => {
            Response::Draining(Draining { reconnect_after_ms })
        }
        Reply::AuthExpiring { expires_at_ms } => {
            Response::AuthExpiring(AuthExpiring { expires_at_ms })
        }
        Reply::Pong => Response::Pong(Pong {}),
    };
    let response = SocketResponse {
        id: id.0.to_string(),
        response: Some(response),
    };
    response.encode(buf).expect("a growing buffer has room");
}

/// Field numbers of `SocketResponse`.
mod tag {
    pub const ID: u32 = 1;
    pub const DELIVERY: u32 = 7;
}

/// The messages with the records of a delivery.
pub fn deliver(
    broker: &Broker,
    project: &Project,
    subscription: &Id,
    delivery: &Delivery,
) -> Vec<Vec<Bytes>> {
    let (encoding, bytes_max) = (Encoding::Proto, SOCKET_DELIVERY_BYTES_MAX);
    let chunks = deliver::chunks(broker, project, encoding, delivery, bytes_max);
    let message = |mut pieces: Vec<Bytes>| {
        let mut head = BytesMut::with_capacity(64);
        encode_key(tag::ID, WireType::LengthDelimited, &mut head);
        encode_varint(subscription.0.len() as u64, &mut head);
        head.put_slice(subscription.0.as_bytes());
        encode_key(tag::DELIVERY, WireType::LengthDelimited, &mut head);
        let records: usize = pieces.iter().map(Bytes::len).sum();
        encode_varint(records as u64, &mut head);
        pieces.insert(0, head.freeze());
        pieces
    };
    chunks.into_iter().map(message).collect()
}
