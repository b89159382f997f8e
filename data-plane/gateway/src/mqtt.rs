//! MQTT 3.1.1 and 5.0 (OASIS): on a port of its own, on the port of everything else, where its first byte tells
//! it from HTTP, and in WebSockets at `/mqtt`.
//!
//! The wire is [`highwater_mqtt`]; this folder says what its packets mean here. Topics are topics, a subscription
//! is a cursor on the log, and a session is a record of the system's own project
//! ([`highwater_broker::session`]), so that a client finds its session on whichever node it comes back to.
//!
//! ```text
//! socket ─ Decoder ─ greeting.rs: CONNECT ─ registry.rs: the last connection leaves ─ claim the session
//!             │
//!             ▼
//!         connection.rs: the loop ──▶ client.rs and client/: what a packet does
//!             ├── publish.rs         PUBLISH: message.rs makes it the message of every protocol
//!             ├── subscribe.rs       SUBSCRIBE: opens readers; subscriptions.rs reads on
//!             ├── window.rs          what is sent and not acknowledged
//!             └── saver.rs           writes the session, and holds back what promises more than this node
//! ```
//!
//! Exactly once, on the way in: a message of QoS 2 is appended with an idempotency key of its session, its
//! packet identifier and how often that was used before; PUBREL ends the use, durably, before PUBCOMP says so.
//! On the way out: the identifier is durable in the session before the message is sent, and its PUBREC before
//! the PUBREL. At least once needs neither: what was acknowledged and not yet written is sent again.
//!
//! What a session still has to do when its connection or its node is gone, [`keeper`] does.

mod aliases;
mod client;
mod connection;
mod greeting;
pub(crate) mod keeper;
mod message;
mod outbox;
mod reasons;
pub(crate) mod registry;
mod saver;
mod subscribe;
mod subscriptions;
mod will;
mod window;

use std::{io, sync::Arc};

use bytes::BytesMut;
use highwater_broker::session::SessionSlot;
use highwater_mqtt::Decoder;
use highwater_proto::ErrorCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use self::{
    client::{Client, End},
    connection::CLOSE_TIMEOUT,
    greeting::{CONNECT_LIMITS, LIMITS, Turned, greet, read_connect},
    registry::Registered,
};
use crate::{gateway::Door, io::Transport, page::Page};

pub use message::put_record;

/// Whether a connection that begins with this byte speaks MQTT: it is that of a CONNECT, and of no HTTP request
/// or TLS record.
pub(crate) fn begins_with(first: u8) -> bool {
    first == 0x10
}

/// The name of MQTT in TLS's negotiation of the protocol (ALPN).
pub(crate) const ALPN: &str = "mqtt";

/// Serves a connection to its end, of a page if it came in a WebSocket. Its client has until then to say who it is.
///
/// What is needed only at its beginning or its end has memory of its own, so that an idle connection does not
/// hold it.
///
/// # Errors
/// Those of the socket.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function holds room for its arguments twice"
)]
pub(crate) fn serve(
    door: Arc<Door>,
    mut io: impl Transport,
    (page, begin_by): (Page, Instant),
    draining: CancellationToken,
) -> impl Future<Output = io::Result<()>> + Send {
    async move {
        let welcomed = Box::pin(welcome(&door, &mut io, (page, begin_by))).await?;
        let Some((mut client, registered, input)) = welcomed else {
            return Ok(());
        };
        let taken_over = registered.taken_over();
        let end = client.run(&mut io, input, (taken_over, &draining)).await;
        let last_words = std::mem::take(&mut client.last_words);
        if let Some((code, reason)) = end.close_code() {
            io.will_close(code, reason);
        }
        // Before the connection is closed: whoever sees that has its session as it was left, and no will that it
        // took back, even if this node is gone the next moment.
        if let Err(refusal) = Box::pin(finish(client, end)).await {
            tracing::debug!(%refusal, "a session is left to be settled");
            let key = registered.key().clone();
            // First: what has a connection is not settled.
            drop(registered);
            door.sessions.leave(key);
        } else {
            drop(registered);
        }
        // What a client that is gone makes of it is no error of ours.
        let _ = timeout(CLOSE_TIMEOUT, close(&mut io, &last_words)).await;
        Ok(())
    }
}

/// Says the last words and waits until the client has closed its side too: a socket that is closed while something
/// is unread resets the connection, and what was said last may be lost with it.
async fn close(io: &mut impl Transport, last_words: &[u8]) -> io::Result<()> {
    io.write_all(last_words).await?;
    io.shutdown().await?;
    let mut unread = [0; 512];
    while io.read(&mut unread).await? > 0 {}
    Ok(())
}

/// A client with its place among the connections, and what was read of it.
type Welcomed<'a> = (Box<Client>, Registered<'a>, (Decoder, BytesMut));

/// Waits for a client and takes over its session. There is none when it was turned away.
async fn welcome<'a>(
    door: &'a Arc<Door>,
    io: &mut impl Transport,
    (page, begin_by): (Page, Instant),
) -> io::Result<Option<Welcomed<'a>>> {
    let mut decoder = Decoder::of_client(CONNECT_LIMITS);
    let mut buf = BytesMut::new();
    let connect = read_connect(io, &mut decoder, &mut buf);
    let greeted = match timeout_at(begin_by, connect).await {
        // From here on it is us who take the time.
        Ok(Ok(connect)) => greet(door, connect, page).await,
        Ok(Err(turned)) => Err(turned),
        Err(_) => Err(Turned::silently(ErrorCode::Unauthenticated)),
    };
    match greeted {
        Ok((client, registered)) => {
            decoder.set_limits(LIMITS);
            Ok(Some((client, registered, (decoder, buf))))
        }
        Err(Turned { answer, code }) => {
            io.will_close(code.ws_close(), code.name());
            match answer.is_empty() {
                true => io.shutdown().await?,
                false => timeout(CLOSE_TIMEOUT, close(io, &answer)).await??,
            }
            Ok(None)
        }
    }
}

/// Leaves the session as whoever goes on with it needs it.
///
/// # Errors
/// When it could not be written.
async fn finish(client: Box<Client>, end: End) -> highwater_broker::Result<()> {
    if end == End::TakenOver {
        hand_over(client).await;
        return Ok(());
    }
    let door = client.door.clone();
    let mut session = client.stored();
    session.connected = None;
    session.disconnected_at_ms = (door.clock)();
    match end {
        End::Left => session.will = None,
        End::SentAway => {
            // The time in which clients come back: whoever does has never been away.
            session.was_sent_away = true;
            let spread_s = door.options.reconnect_spread.as_secs() as u32 + keeper::RETURN_S;
            session.expiry_s = session.expiry_s.max(spread_s);
            if let Some(will) = &mut session.will {
                will.delay_s = will.delay_s.max(spread_s);
            }
        }
        End::Lost | End::Dismissed(_) | End::TakenOver => {}
    }
    match client.saver.into_slot()? {
        Some(slot) => settle(&door, slot, session).await,
        None => Ok(()),
    }
}

/// Leaves the session as it is to the connection that waits for it, so that this one goes on with what the client
/// has acknowledged and under the same identifiers. One on another node has written it already, and does not wait.
/// Whatever could not be written is repeated by the next connection, which sees to the session.
async fn hand_over(client: Box<Client>) {
    let session = client.stored();
    let is_kept = client.saver.is_kept;
    if let Ok(Some(mut slot)) = client.saver.into_slot()
        && is_kept
        && let Err(refusal) = saver::write(&mut slot, &session).await
    {
        tracing::debug!(%refusal, "a session was taken over as it was written before");
    }
}

/// Does what is due of a session without a connection: publishes its will, ends it, or writes what is left
/// of it.
///
/// # Errors
/// Those of publishing and writing; what is left to do can be done again, by any node.
async fn settle(
    door: &Door,
    mut slot: SessionSlot,
    mut session: highwater_proto::cluster::Session,
) -> highwater_broker::Result<()> {
    let now_ms = (door.clock)();
    if will::due_ms(&session).is_some_and(|due| due <= now_ms) {
        // First: the note that it is done must not be true before it is.
        will::publish(door, &session).await?;
        session.will = None;
    }
    match highwater_broker::session::is_over(&session, now_ms) {
        true => slot.remove().await,
        false => saver::write(&mut slot, &session).await,
    }
}
