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
    future::{BoxFuture, select_all},
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
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    codec::{Codec, Id, Reply, Request, invalid},
    outbox::Outbox,
};
use crate::{
    alarm::Alarm,
    gateway::Door,
    metrics::Protocol,
    page::Page,
    publish::{Pending, prepare},
    read,
    read_in::read_some,
    reader::{Credit, Reader, Wanted},
    session::{Notice, Session},
};

/// Time the other side has to answer a close frame, and to take what was sent before it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same of a client that never brought a credential: it has had time enough for that.
const STRANGERS_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Heartbeats without a byte in either direction after which a connection is given up.
const SILENT_HEARTBEATS: u32 = 3;

/// A connection whose handshake is done.
pub struct Client {
    pub door: Arc<Door>,
    pub draining: CancellationToken,
    /// Whether that is the node's end.
    pub stopping: CancellationToken,
    pub codec: Codec,
    /// Nothing until the first message brings a credential.
    pub session: Option<Session>,
    /// Until when it has to.
    pub begin_by: Instant,
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
    Noticed(Notice),
    Read(usize),
    Written,
    Sent(Vec<Id>, Pending<'a>),
    Answered(Answered),
    Opened(Opened),
    Delivered(usize, Result<Delivery>),
    Woken,
}

/// What is known of a connection, between two steps.
pub struct Connection {
    door: Arc<Door>,
    draining: CancellationToken,
    stopping: CancellationToken,
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
    /// Publishes wait for room in their shards: one batch at a time, to keep their order.
    is_sending: bool,
    /// Publishes that wait for their outcome.
    waiting: usize,
    /// Until when a client without a credential has to bring it.
    begin_by: Instant,
    /// When to see whether the client is there.
    next_beat: Instant,
    /// When a byte was read last or, while nothing is read because too much waits, written.
    moved: Instant,
}

impl Connection {
    /// A connection that greets its client.
    pub fn new(client: Client) -> Box<Connection> {
        let message_bytes_max = match client.session {
            Some(_) => SOCKET_MESSAGE_BYTES_MAX,
            None => SOCKET_GREETING_BYTES_MAX,
        };
        let now = Instant::now();
        let heartbeat_interval = client.door.options.heartbeat_interval;
        let mut connection = Box::new(Connection {
            draining: client.draining,
            stopping: client.stopping,
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
            is_sending: false,
            waiting: 0,
            begin_by: client.begin_by,
            next_beat: now + heartbeat_interval,
            moved: now,
        });
        let name = name_of_connection(&connection.door);
        connection.reply(
            &Id::default(),
            Reply::Hello {
                connection: &name,
                heartbeat_ms: heartbeat_interval.as_millis() as u64,
            },
        );
        connection
    }

    /// Serves the connection to its end.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn run(&mut self, io: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let (mut reading, mut writing) = tokio::io::split(io);
        let (door, draining) = (self.door.clone(), self.draining.clone());
        let mut buf = BytesMut::new();
        let mut under_way = FuturesUnordered::<BoxFuture<'_, Step<'_>>>::new();
        let mut alarm = Alarm::default();
        loop {
            self.take(&mut buf);
            if buf.is_empty() {
                // What was read into is not kept by a client that is silent.
                buf = BytesMut::new();
            }
            for (id, source, credit) in self.asked.drain(..) {
                let principal = self.session.as_ref().map(|s| s.principal().clone());
                let open = open(&door, principal, source, credit);
                under_way.push(open.map(|reader| Step::Opened((id, reader))).boxed());
            }
            if let Some((principal, publishes)) = self.next_publishes() {
                let send = send(&door, principal, publishes);
                under_way.push(send.map(|(ids, pending)| Step::Sent(ids, pending)).boxed());
            }
            self.end_when_drained();
            if self.is_finished() {
                break;
            }
            let may_read = self.may_read();
            let missing = self.decoder.missing_bytes(&buf);
            let wanted = missing.min(SOCKET_READ_BYTES_MAX);
            let wake_at = self.wake_at();
            let is_open = self.closing.is_open();
            let was_full = !self.out.has_room();
            let may_deliver = is_open && !was_full;
            let step = tokio::select! {
                biased;
                () = draining.cancelled(), if is_open && !self.is_draining => Step::Draining,
                notice = notice(self.session.as_mut()), if is_open => Step::Noticed(notice),
                written = self.out.write_some(&mut writing), if self.out.is_pending() => {
                    written?;
                    Step::Written
                }
                Some(step) = under_way.next(), if !under_way.is_empty() => step,
                read = read_some(&mut reading, &mut buf, wanted), if may_read => Step::Read(read?),
                (at, delivery) = next_delivery(&mut self.subscriptions, &door), if may_deliver => {
                    Step::Delivered(at, delivery)
                }
                () = alarm.ring(Some(wake_at)) => Step::Woken,
            };
            match step {
                Step::Draining => self.drain(),
                Step::Noticed(Notice::Changed) => self.recheck(),
                Step::Noticed(Notice::Expiring(at_ms)) => self.warn(at_ms),
                Step::Read(0) => break,
                Step::Read(_) => self.moved = Instant::now(),
                Step::Written => {
                    // A client that is not read from shows by what it takes that it is there. A ping that
                    // is written shows nothing.
                    if was_full {
                        self.moved = Instant::now();
                    }
                }
                Step::Sent(ids, pending) => {
                    self.is_sending = false;
                    self.waiting += ids.len();
                    let outcomes = pending.outcomes();
                    under_way.push(outcomes.map(|all| Step::Answered((ids, all))).boxed());
                }
                Step::Answered(answered) => self.on_answered(&answered),
                Step::Opened((id, opened)) => self.on_opened(id, opened),
                Step::Delivered(at, delivery) => self.on_delivery(at, delivery),
                Step::Woken => {
                    if self.is_given_up() {
                        break;
                    }
                    self.on_woken();
                }
            }
        }
        // What is left to say has been said, or nobody listens.
        timeout(CLOSE_TIMEOUT, writing.shutdown())
            .await
            .unwrap_or(Ok(()))
    }

    /// When something is to be done though nothing has happened.
    fn wake_at(&self) -> Instant {
        let begin_by = self.lacks_credential().then_some(self.begin_by);
        let due = [self.close_by, begin_by].into_iter().flatten().min();
        due.map_or(self.next_beat, |due| due.min(self.next_beat))
    }

    /// Whether the client still has to say who it is.
    fn lacks_credential(&self) -> bool {
        self.session.is_none() && self.closing.is_open()
    }

    /// Whether the other side had its time to close the connection.
    fn is_given_up(&self) -> bool {
        self.close_by.is_some_and(|by| by <= Instant::now())
    }

    /// The publishes to be sent next, and whose they are, unless others are on their way to their shards.
    fn next_publishes(&mut self) -> Option<(Principal, Vec<(Id, PublishRequest)>)> {
        if self.is_sending || self.publishes.is_empty() {
            return None;
        }
        let principal = self.session.as_ref()?.principal().clone();
        self.is_sending = true;
        Some((principal, std::mem::take(&mut self.publishes)))
    }

    /// Whether more of what the client sends is looked at.
    fn may_read(&self) -> bool {
        if !self.closing.is_open() {
            return !self.closing.is_closed();
        }
        !self.is_sending
            && !self.is_draining
            && self.out.has_room()
            && self.publishes.len() < PUBLISHES_TOGETHER_MAX
            && self.waiting < PUBLISH_STREAM_IN_FLIGHT_MAX
    }

    /// Takes the messages that have arrived.
    fn take(&mut self, buf: &mut BytesMut) {
        while self.may_read() {
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
            Request::Auth { credential } => Session::of(
                &self.door,
                Protocol::WebSocket,
                self.page.clone(),
                &credential,
            ),
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
                if self.subscriptions.is_empty() {
                    // Most clients have no other.
                    self.subscriptions.reserve_exact(1);
                }
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
    fn warn(&mut self, expires_at_ms: u64) {
        self.reply(&Id::default(), Reply::AuthExpiring { expires_at_ms });
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

    fn on_woken(&mut self) {
        let (options, now) = (&self.door.options, Instant::now());
        if self.lacks_credential() && now >= self.begin_by {
            let message = "no credential came in time";
            let refusal = Refusal::new(ErrorCode::Unauthenticated, message);
            return self.end(&Id::default(), &refusal);
        }
        if now < self.next_beat {
            return;
        }
        self.next_beat = now + options.heartbeat_interval;
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

    fn end_when_drained(&mut self) {
        let is_idle = !self.is_sending && self.waiting == 0;
        if self.is_draining && is_idle && self.closing.is_open() {
            match self.stopping.is_cancelled() {
                true => self.close(close::RESTART, "the node is about to stop"),
                // That of HTTP/2 around it, and so all that are on it.
                false => self.close(close::GOING_AWAY, "the connection is old"),
            }
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
        let time = match self.session {
            Some(_) => CLOSE_TIMEOUT,
            None => STRANGERS_CLOSE_TIMEOUT,
        };
        self.close_by.get_or_insert(Instant::now() + time);
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

async fn notice(session: Option<&mut Session>) -> Notice {
    match session {
        Some(session) => session.notice().await,
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
