//! One connection: what its client asks for, and what it is sent, each as fast as the other side takes it.
//!
//! A client that does not read is not read from either: what waits for it is bounded, its subscriptions stay
//! where they are on the log, and when nothing moves in either direction for three heartbeats it is told
//! that it is too slow (4408). Messages that are there together are taken together, so that many small
//! publishes are one batch.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Fuse, FusedFuture, select_all},
    stream::FuturesUnordered,
};
use highwater_broker::{Refusal, Result, catalogue::Principal, from::From, subscription::Delivery};
use highwater_proto::{
    ErrorCode,
    client::{PublishRequest, PublishResult},
    limits::{
        PUBLISH_STREAM_IN_FLIGHT_MAX, PUBLISHES_TOGETHER_MAX, SOCKET_GREETING_BYTES_MAX,
        SOCKET_MESSAGE_BYTES_MAX, SOCKET_READ_BYTES_MAX, SOCKET_SUBSCRIPTIONS_MAX,
    },
};
use highwater_websocket::{Agreement, Closing, Decoder, Event, Role, Violation, close, frame};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    codec::{Codec, Id, Reply, Request, invalid},
    outbox::Outbox,
};
use crate::{
    gateway::Door,
    metrics::Protocol,
    page::Page,
    publish::{Pending, prepare},
    read,
    reader::{Credit, Reader, Wanted},
    session::Session,
};

/// Room to read into. An idle connection holds this much.
const READ_BYTES: usize = 1 << 10;
/// Time the other side has to answer a close frame, and to take what was sent before it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Heartbeats without a byte in either direction after which a connection is given up.
const SILENT_HEARTBEATS: u32 = 3;

/// A connection whose handshake is done.
pub struct Client {
    pub door: Arc<Door>,
    pub draining: CancellationToken,
    pub codec: Codec,
    /// Nothing until the first message brings a credential.
    pub session: Option<Session>,
    pub page: Page,
    pub agreement: Option<Agreement>,
}

/// Topics, where to begin, and the group to join.
type Asked = (Vec<String>, String, String);
/// What a subscription becomes when it has been opened.
type Opened = (Id, Result<Reader>);
/// Publishes that were answered, with what their client calls them.
type Answered = (Vec<Id>, Vec<Result<PublishResult>>);

/// What happened next.
enum Step<'a> {
    Draining,
    SessionChanged,
    Expiring,
    Read(usize),
    Written,
    Sent(Vec<Id>, Pending<'a>),
    Answered(Answered),
    Opened(Opened),
    Delivered(usize, Result<Delivery>),
    Beat,
    GivenUp,
}

impl Client {
    /// Serves the connection to its end.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn run(self, io: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let (mut reading, mut writing) = tokio::io::split(io);
        let (door, draining) = (self.door.clone(), self.draining.clone());
        let mut connection = Connection::new(self);
        let mut buf = BytesMut::new();
        let mut opening = FuturesUnordered::<BoxFuture<'_, Opened>>::new();
        let mut in_flight = FuturesUnordered::new();
        let sending = Fuse::terminated();
        let beat = sleep(connection.first_beat());
        tokio::pin!(sending, beat);
        loop {
            let mut can_send = sending.is_terminated();
            connection.take(&mut buf, can_send);
            // What a long message has needed is not kept.
            if buf.is_empty() && buf.capacity() > READ_BYTES {
                buf = BytesMut::new();
            }
            for (id, source, credit) in connection.asked.drain(..) {
                let principal = connection.session.as_ref().map(|s| s.principal().clone());
                let open = open(&door, principal, source, credit);
                opening.push(open.map(|reader| (id, reader)).boxed());
            }
            if can_send && !connection.publishes.is_empty() {
                let publishes = std::mem::take(&mut connection.publishes);
                if let Some(session) = &connection.session {
                    sending.set(send(&door, session.principal().clone(), publishes).fuse());
                    can_send = false;
                }
            }
            let is_idle = can_send && in_flight.is_empty();
            connection.end_when_drained(is_idle);
            if connection.is_finished() {
                break;
            }
            let may_read = connection.may_read(can_send);
            if may_read {
                let missing = connection.decoder.missing_bytes(&buf);
                buf.reserve(missing.clamp(READ_BYTES, SOCKET_READ_BYTES_MAX));
            }
            let is_open = connection.closing.is_open();
            let was_full = !connection.out.has_room();
            let may_deliver = is_open && !was_full;
            let step = tokio::select! {
                biased;
                () = draining.cancelled(), if is_open && !connection.is_draining => Step::Draining,
                () = changed(connection.session.as_ref()), if is_open => Step::SessionChanged,
                () = expiring(connection.session.as_ref()), if is_open => Step::Expiring,
                written = connection.out.write_some(&mut writing), if connection.out.is_pending() => {
                    written?;
                    Step::Written
                }
                Some(answered) = in_flight.next(), if !in_flight.is_empty() => Step::Answered(answered),
                (ids, pending) = &mut sending, if !can_send => Step::Sent(ids, pending),
                Some(opened) = opening.next(), if !opening.is_empty() => Step::Opened(opened),
                read = reading.read_buf(&mut buf), if may_read => Step::Read(read?),
                (at, delivery) = next_delivery(&mut connection.subscriptions, &door), if may_deliver => {
                    Step::Delivered(at, delivery)
                }
                () = &mut beat => Step::Beat,
                () = give_up(connection.close_by) => Step::GivenUp,
            };
            match step {
                Step::Draining => connection.drain(),
                Step::SessionChanged => connection.recheck(),
                Step::Expiring => connection.warn(),
                Step::Read(0) | Step::GivenUp => break,
                Step::Read(_) => connection.moved = Instant::now(),
                Step::Written => {
                    // A client that is not read from shows by what it takes that it is there. A ping that
                    // is written shows nothing.
                    if was_full {
                        connection.moved = Instant::now();
                    }
                }
                Step::Sent(ids, pending) => {
                    connection.waiting += ids.len();
                    in_flight.push(pending.outcomes().map(|outcomes| (ids, outcomes)));
                }
                Step::Answered(answered) => connection.on_answered(&answered),
                Step::Opened((id, opened)) => connection.on_opened(id, opened),
                Step::Delivered(at, delivery) => connection.on_delivery(at, delivery),
                Step::Beat => {
                    connection.on_beat();
                    beat.as_mut()
                        .reset(Instant::now() + door.options.heartbeat_interval);
                }
            }
        }
        // What is left to say has been said, or nobody listens.
        timeout(CLOSE_TIMEOUT, writing.shutdown())
            .await
            .unwrap_or(Ok(()))
    }
}

/// What is known of a connection, between two steps.
struct Connection {
    door: Arc<Door>,
    codec: Codec,
    session: Option<Session>,
    page: Page,
    decoder: Decoder,
    closing: Closing,
    /// When to stop waiting for the end of the closing handshake.
    close_by: Option<Instant>,
    is_draining: bool,
    out: Outbox,
    subscriptions: Vec<(Id, Reader)>,
    /// Subscriptions that are being opened.
    opening: Vec<Id>,
    asked: Vec<(Id, Asked, Credit)>,
    publishes: Vec<(Id, PublishRequest)>,
    /// Publishes that wait for their outcome.
    waiting: usize,
    opened: Instant,
    /// When a byte was read last or, while nothing is read because too much waits, written.
    moved: Instant,
}

impl Connection {
    fn new(client: Client) -> Connection {
        let message_bytes_max = match client.session {
            Some(_) => SOCKET_MESSAGE_BYTES_MAX,
            None => SOCKET_GREETING_BYTES_MAX,
        };
        let now = Instant::now();
        let mut connection = Connection {
            decoder: Decoder::new(Role::Server, message_bytes_max, client.agreement),
            out: Outbox::new(client.agreement.is_some()),
            door: client.door,
            codec: client.codec,
            session: client.session,
            page: client.page,
            closing: Closing::default(),
            close_by: None,
            is_draining: false,
            subscriptions: Vec::new(),
            opening: Vec::new(),
            asked: Vec::new(),
            publishes: Vec::new(),
            waiting: 0,
            opened: now,
            moved: now,
        };
        let name = name_of_connection(&connection.door);
        connection.reply(
            &Id::default(),
            Reply::Hello {
                connection: &name,
                heartbeat_ms: connection.door.options.heartbeat_interval.as_millis() as u64,
            },
        );
        connection
    }

    fn first_beat(&self) -> Duration {
        let options = &self.door.options;
        match self.session {
            Some(_) => options.heartbeat_interval,
            None => options.header_timeout.min(options.heartbeat_interval),
        }
    }

    /// Whether more of what the client sends is looked at.
    fn may_read(&self, can_send: bool) -> bool {
        if !self.closing.is_open() {
            return !self.closing.is_closed();
        }
        can_send
            && !self.is_draining
            && self.out.has_room()
            && self.publishes.len() < PUBLISHES_TOGETHER_MAX
            && self.waiting < PUBLISH_STREAM_IN_FLIGHT_MAX
    }

    /// Takes the messages that have arrived.
    fn take(&mut self, buf: &mut BytesMut, can_send: bool) {
        while self.may_read(can_send) {
            match self.decoder.feed(buf) {
                Ok(Some(event)) => self.on_event(event),
                Ok(None) => return,
                Err(violation) => self.on_violation(violation),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Close(reason) => {
                let answer = self.closing.on_close(reason.as_ref());
                answer
                    .into_iter()
                    .for_each(|frame| self.out.push_frame(frame));
                self.leave();
            }
            _ if !self.closing.is_open() => {}
            Event::Ping(payload) => self.out.push_frame(frame::pong(&payload)),
            Event::Pong(_) => {}
            Event::Text(_) | Event::Binary(_) => match self.codec.decode(event) {
                Ok((id, request)) => {
                    let done = request.and_then(|request| self.on_request(&id, request));
                    if let Err(refusal) = done {
                        self.refuse(&id, &refusal);
                    }
                }
                Err(refusal) => self.end(&Id::default(), &refusal),
            },
        }
    }

    fn on_request(&mut self, id: &Id, request: Request) -> Result<()> {
        let Some(session) = &mut self.session else {
            return self.greet(id, request);
        };
        match request {
            Request::Auth { credential } => {
                session.replace(&self.door, &credential)?;
                self.recheck_subscriptions();
                self.reply(id, Reply::Authenticated);
            }
            Request::Subscribe {
                topics,
                from,
                credit: (messages, bytes),
                group,
            } => {
                let is_known = self.opening.contains(id) || self.position(id).is_some();
                if is_known || id.0.is_empty() {
                    return Err(invalid("a subscription has an id of its own"));
                }
                if self.opening.len() + self.subscriptions.len() >= SOCKET_SUBSCRIPTIONS_MAX {
                    let message = "a connection has at most 256 subscriptions";
                    return Err(Refusal::new(ErrorCode::QuotaExceeded, message));
                }
                self.opening.push(id.clone());
                let credit = Credit::new(messages, bytes);
                self.asked.push((id.clone(), (topics, from, group), credit));
            }
            Request::Unsubscribe => {
                let at = self.position(id).ok_or_else(no_subscription)?;
                let (id, reader) = self.subscriptions.swap_remove(at);
                let cursor = reader.cursor();
                self.reply(&id, Reply::Unsubscribed { cursor: &cursor });
            }
            Request::Publish(publish) => self.publishes.push((id.clone(), *publish)),
            Request::Flow { messages, bytes } => {
                let at = self.position(id).ok_or_else(no_subscription)?;
                self.subscriptions[at].1.add_credit(messages, bytes);
            }
            Request::Ack {
                cursors,
                is_returned,
            } => {
                let at = self.position(id).ok_or_else(no_subscription)?;
                let (_, reader) = &mut self.subscriptions[at];
                reader.ack_cursors(&cursors, is_returned)?;
            }
            Request::Ping => self.reply(id, Reply::Pong),
        }
        Ok(())
    }

    /// The first request of a connection that was opened without a credential.
    fn greet(&mut self, id: &Id, request: Request) -> Result<()> {
        let session = match request {
            Request::Auth { credential } => Session::of(&self.door, self.page.clone(), &credential),
            _ => {
                let message = "the first message of a connection without a credential is `auth`";
                Err(Refusal::new(ErrorCode::Unauthenticated, message))
            }
        };
        match session {
            Ok(session) => {
                self.session = Some(session);
                self.decoder.set_message_bytes_max(SOCKET_MESSAGE_BYTES_MAX);
                self.reply(id, Reply::Authenticated);
            }
            Err(refusal) => self.end(id, &refusal),
        }
        Ok(())
    }

    fn position(&self, id: &Id) -> Option<usize> {
        self.subscriptions.iter().position(|(known, _)| known == id)
    }

    fn on_opened(&mut self, id: Id, opened: Result<Reader>) {
        self.opening.retain(|known| *known != id);
        match opened {
            Ok(reader) => {
                let cursor = reader.cursor();
                self.reply(&id, Reply::Subscribed { cursor: &cursor });
                self.subscriptions.push((id, reader));
                // The credential may have changed while the subscription was opened.
                self.recheck_subscriptions();
            }
            Err(refusal) => self.refuse(&id, &refusal),
        }
    }

    fn on_answered(&mut self, (ids, outcomes): &Answered) {
        self.waiting -= ids.len();
        for (id, outcome) in ids.iter().zip(outcomes) {
            // A refused publish was counted where it was refused.
            match outcome {
                Ok(result) => self.reply(id, Reply::Published(result)),
                Err(refusal) => self.reply(id, Reply::Refused(refusal)),
            }
        }
    }

    fn on_delivery(&mut self, at: usize, delivery: Result<Delivery>) {
        let delivery = match delivery {
            Ok(delivery) => delivery,
            Err(refusal) => {
                let (id, _) = self.subscriptions.swap_remove(at);
                return self.refuse(&id, &refusal);
            }
        };
        // The one that has just had its turn is the last to have the next.
        let last = self.subscriptions.len() - 1;
        self.subscriptions.swap(at, last);
        let id = self.subscriptions[last].0.clone();
        for gap in &delivery.gaps {
            self.reply(&id, Reply::Gap(gap));
        }
        let Some(session) = &self.session else { return };
        let source = (&*self.door.broker, &*session.principal().project);
        for message in self.codec.deliver(source, &id, &delivery) {
            self.out.push_pieces(self.codec.opcode(), message);
        }
    }

    /// Checks the credential and what it allows again.
    fn recheck(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        match session.refresh(&self.door) {
            Ok(_) => self.recheck_subscriptions(),
            Err(refusal) => self.end(&Id::default(), &refusal),
        }
    }

    /// Tells that the credential's time will soon be over, and `auth` is due.
    fn warn(&mut self) {
        if let Some(session) = &mut self.session {
            let expires_at_ms = session.warn();
            self.reply(&Id::default(), Reply::AuthExpiring { expires_at_ms });
        }
    }

    fn recheck_subscriptions(&mut self) {
        let Some(session) = &self.session else { return };
        let principal = session.principal();
        let mut ended = Vec::new();
        self.subscriptions.retain(|(id, reader)| {
            let allowed = reader.recheck(principal);
            let is_allowed = allowed.is_ok();
            ended.extend(allowed.err().map(|refusal| (id.clone(), refusal)));
            is_allowed
        });
        for (id, refusal) in ended {
            self.refuse(&id, &refusal);
        }
    }

    fn on_beat(&mut self) {
        let options = &self.door.options;
        if self.session.is_none() && self.opened.elapsed() >= options.header_timeout {
            let message = "no credential came in time";
            return self.end(
                &Id::default(),
                &Refusal::new(ErrorCode::Unauthenticated, message),
            );
        }
        let silence = self.moved.elapsed();
        if silence >= options.heartbeat_interval * SILENT_HEARTBEATS {
            let message = "the connection was silent for too long";
            self.end(&Id::default(), &Refusal::new(ErrorCode::Timeout, message));
        } else if silence >= options.heartbeat_interval && self.closing.is_open() {
            self.out.push_frame(frame::ping(&[]));
        }
    }

    /// Takes nothing more; what was taken is answered.
    fn drain(&mut self) {
        self.is_draining = true;
        let reconnect_after_ms = self.door.reconnect_after_ms();
        self.reply(&Id::default(), Reply::Draining { reconnect_after_ms });
    }

    fn end_when_drained(&mut self, is_idle: bool) {
        if self.is_draining && is_idle && self.closing.is_open() {
            self.close(close::RESTART, "the node is about to stop");
        }
    }

    fn on_violation(&mut self, violation: Violation) {
        let last = self.closing.on_violation(violation);
        last.into_iter()
            .for_each(|frame| self.out.push_frame(frame));
        self.leave();
    }

    /// Ends the connection with a refusal.
    fn end(&mut self, id: &Id, refusal: &Refusal) {
        self.refuse(id, refusal);
        let code = refusal.code();
        self.close(code.ws_close(), code.name());
    }

    fn close(&mut self, code: u16, reason: &str) {
        let last = self.closing.start(code, reason);
        last.into_iter()
            .for_each(|frame| self.out.push_frame(frame));
        self.leave();
    }

    fn leave(&mut self) {
        self.close_by.get_or_insert(Instant::now() + CLOSE_TIMEOUT);
        self.subscriptions.clear();
        self.asked.clear();
        self.publishes.clear();
    }

    fn is_finished(&self) -> bool {
        self.closing.is_closed() && !self.out.is_pending()
    }

    /// Refuses a request, or ends a subscription.
    fn refuse(&mut self, id: &Id, refusal: &Refusal) {
        self.door.metrics.refused(Protocol::WebSocket, refusal);
        self.reply(id, Reply::Refused(refusal));
    }

    fn reply(&mut self, id: &Id, reply: Reply<'_>) {
        if self.closing.is_open() {
            let mut payload = BytesMut::new();
            self.codec.encode(id, reply, &mut payload);
            self.out.push(self.codec.opcode(), &payload);
        }
    }
}

fn no_subscription() -> Refusal {
    invalid("there is no subscription with this id")
}

/// Distinct among the connections of a node since it was started.
fn name_of_connection(door: &Door) -> String {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{number:x}", (door.clock)())
}

async fn open(
    door: &Arc<Door>,
    principal: Option<Principal>,
    (topics, from, group): Asked,
    credit: Credit,
) -> Result<Reader> {
    let unknown = || Refusal::new(ErrorCode::Unauthenticated, "there is no credential");
    let principal = principal.ok_or_else(unknown)?;
    let filters = read::parse_filters(&topics)?;
    let from = read::parse_from(&from, From::Latest)?;
    let wanted = Wanted::alone(filters, from).with_group(group);
    Reader::open(door, Protocol::WebSocket, &principal, wanted, credit).await
}

/// Takes a batch, as soon as its shards have room.
async fn send(
    door: &Door,
    principal: Principal,
    publishes: Vec<(Id, PublishRequest)>,
) -> (Vec<Id>, Pending<'_>) {
    let (ids, publishes): (Vec<_>, Vec<_>) = publishes.into_iter().unzip();
    let batch = prepare(door, Protocol::WebSocket, &principal, publishes);
    (ids, batch.send().await)
}

async fn changed(session: Option<&Session>) {
    match session {
        Some(session) => session.changed().await,
        None => pending().await,
    }
}

async fn expiring(session: Option<&Session>) {
    match session {
        Some(session) => session.expiring().await,
        None => pending().await,
    }
}

async fn give_up(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// The next delivery of any subscription, and which one it is of.
async fn next_delivery(
    subscriptions: &mut [(Id, Reader)],
    door: &Door,
) -> (usize, Result<Delivery>) {
    match subscriptions {
        [] => pending().await,
        [(_, only)] => (0, only.next(door).await),
        many => {
            let all = many
                .iter_mut()
                .map(|(_, reader)| Box::pin(reader.next(door)));
            let (delivery, at, _) = select_all(all).await;
            (at, delivery)
        }
    }
}
