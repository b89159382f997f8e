//! The loop of one connection: what its client asks for, and what it is sent, each as fast as the other side
//! takes it.
//!
//! A client that does not read is not read from either, and one that does not acknowledge is sent nothing more
//! that needs it: what waits for it is bounded, and its subscriptions stay where they are on the log.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::{
    FutureExt,
    future::{BoxFuture, pending},
};
use highwater_broker::{Result, catalogue::Principal};
use highwater_mqtt::{Decoder, PacketId, SubscriptionId};
use highwater_proto::client::{PublishRequest, PublishResult};
use highwater_proto::limits::MQTT_READ_BYTES_MAX;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    client::{Answer, Client, End},
    saver::Written,
    subscribe::Opened,
    subscriptions::{self, Next},
};
use crate::{
    alarm::Alarm,
    gateway::Door,
    metrics::Protocol,
    publish::{Pending, prepare},
    read_in::read_some,
};

/// Time that the last packets have to be written in.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where the client's next connection waits for this one. Often the client has lost its network, and nobody
/// reads here any more.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(500);

/// Publishes that were answered.
type Answered = (Vec<Answer>, Vec<Result<PublishResult>>);
/// The subscriptions of one packet.
type AllOpened = (PacketId, Option<SubscriptionId>, Vec<Result<Opened>>);

/// What happened next.
enum Step<'a> {
    TakenOver,
    Draining,
    CatalogueChanged,
    Read,
    Outgoing,
    Broken,
    Sent(Vec<Answer>, Pending<'a>),
    Answered(Answered),
    Opened(AllOpened),
    Saved(Box<Written>),
    Next(usize, Box<Result<Next>>),
    Woken,
}

impl Client {
    /// Serves the connection until it ends, and says why. What was read before and not looked at is in `buf`.
    /// Whatever its session still needs is left in the client, and the connection is not closed yet.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async function holds room for its arguments twice"
    )]
    pub fn run(
        &mut self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send,
        (mut decoder, mut buf): (Decoder, BytesMut),
        (taken_over, draining): (&CancellationToken, &CancellationToken),
    ) -> impl Future<Output = End> + Send {
        async move {
            let (mut reading, mut writing) = tokio::io::split(io);
            let door = self.door.clone();
            let mut sending: Option<BoxFuture<'_, (Vec<Answer>, Pending<'_>)>> = None;
            let mut answering: Option<BoxFuture<'_, Answered>> = None;
            let mut opening: Option<BoxFuture<'_, AllOpened>> = None;
            let mut saving: Option<BoxFuture<'static, Written>> = None;
            let mut give_up = None;
            let mut alarm = Alarm::default();
            let end = loop {
                let mut can_send = sending.is_none();
                let can_take = can_send && opening.is_none() && !draining.is_cancelled();
                self.take(&mut decoder, &mut buf, can_take);
                if buf.is_empty() {
                    // What was read into is not kept by a client that is silent.
                    buf = BytesMut::new();
                }
                if let Some(wanted) = self.wanted.take_if(|_| opening.is_none()) {
                    opening = Some(open(&door, self.login.principal().clone(), wanted).boxed());
                }
                // One batch after the other: when nobody knows what became of one, the next must not be appended, or
                // the client's order would be another once it has sent all of them again (MQTT-4.6.0-5).
                if can_send && answering.is_none() && !self.publishes.is_empty() {
                    let publishes = self.next_publishes();
                    let principal = self.login.principal().clone();
                    sending = Some(send(&door, principal, publishes).boxed());
                    can_send = false;
                }
                self.send_backlog();
                if self.saver.must_write(Instant::now()) {
                    saving = Some(self.saver.write(self.stored()));
                }
                // What was taken before the end is published all the same.
                let is_idle = can_send && answering.is_none() && saving.is_none();
                if let Some(end) = self.end {
                    let give_up = *give_up.get_or_insert_with(|| Instant::now() + patience(end));
                    if is_idle && !self.out.is_pending() || Instant::now() >= give_up {
                        break end;
                    }
                }
                let may_read = self.may_take(can_take && can_send) && opening.is_none();
                self.is_listening = may_read;
                // As much again as there is: a long packet is read in few steps, and announced bytes cost nothing
                // before they come.
                let wanted = buf.len().min(MQTT_READ_BYTES_MAX);
                let is_open = self.end.is_none();
                let may_deliver = is_open && self.out.has_room();
                let wake = give_up.or_else(|| self.wake_at());
                let step = tokio::select! {
                    biased;
                    () = taken_over.cancelled(), if is_open => Step::TakenOver,
                    () = draining.cancelled(), if is_open && opening.is_none() && is_idle => Step::Draining,
                    () = self.login.changed(), if is_open => Step::CatalogueChanged,
                    written = self.out.write_some(&mut writing), if self.out.is_pending() => match written {
                        Ok(()) => Step::Outgoing,
                        Err(_) => Step::Broken,
                    },
                    answered = poll(&mut answering), if answering.is_some() => Step::Answered(answered),
                    (answers, pending) = poll(&mut sending), if !can_send => Step::Sent(answers, pending),
                    saved = poll(&mut saving), if saving.is_some() => Step::Saved(Box::new(saved)),
                    opened = poll(&mut opening), if opening.is_some() => Step::Opened(opened),
                    read = read_some(&mut reading, &mut buf, wanted), if may_read => match read {
                        Ok(0) | Err(_) => Step::Broken,
                        Ok(_) => Step::Read,
                    },
                    (at, next) = subscriptions::next(&mut self.subscriptions, &self.window, &door), if may_deliver => {
                        Step::Next(at, Box::new(next))
                    }
                    () = alarm.ring(wake) => Step::Woken,
                };
                match step {
                    Step::TakenOver => self.on_taken_over(),
                    Step::Draining => self.send_away(),
                    Step::CatalogueChanged => self.recheck(),
                    Step::Broken => self.on_broken(),
                    Step::Read | Step::Outgoing => {}
                    Step::Sent(answers, pending) => {
                        sending = None;
                        let outcomes = pending.outcomes().map(|outcomes| (answers, outcomes));
                        answering = Some(outcomes.boxed());
                    }
                    Step::Answered((answers, outcomes)) => {
                        answering = None;
                        for (answer, outcome) in answers.into_iter().zip(outcomes) {
                            self.on_outcome(answer, outcome);
                        }
                    }
                    Step::Opened((packet_id, id, opened)) => {
                        opening = None;
                        self.on_opened(packet_id, id, opened);
                        // The credential may have changed while they were opened.
                        self.recheck_subscriptions();
                    }
                    Step::Saved(written) => {
                        saving = None;
                        self.on_saved(*written);
                    }
                    Step::Next(at, next) => self.on_next(at, *next),
                    Step::Woken => self.on_woken(),
                }
            };
            // The slot comes back with the write that has it.
            if let Some(saving) = saving {
                self.on_saved(saving.await);
            }
            // What is left to say has been said, or nobody listens.
            let _ = timeout(patience(end), async {
                while self.out.is_pending() {
                    self.out.write_some(&mut writing).await?;
                }
                writing.flush().await
            })
            .await;
            end
        }
    }

    fn take(&mut self, decoder: &mut Decoder, buf: &mut BytesMut, can_send: bool) {
        while self.may_take(can_send) {
            match decoder.next(buf) {
                Ok(Some(packet)) => self.on_packet(packet),
                Ok(None) => return,
                Err(error) => return self.on_malformed(error),
            }
        }
    }

    fn on_saved(&mut self, written: Written) {
        match self.saver.on_written(written) {
            Ok(packets) => packets.iter().for_each(|packet| self.say(packet)),
            Err(refusal) => self.dismiss(&refusal),
        }
    }

    /// When something is to be done though nothing has happened.
    fn wake_at(&self) -> Option<Instant> {
        let silent_at = self.silence_max.map(|max| self.heard + max);
        silent_at.into_iter().chain(self.saver.due()).min()
    }

    fn on_woken(&mut self) {
        let is_silent = self
            .silence_max
            .is_some_and(|max| self.heard.elapsed() >= max);
        if !is_silent || self.end.is_some() {
            return;
        }
        // It is not the client's silence when it is us who do not listen, unless that is because it does not.
        match self.is_listening || !self.out.has_room() {
            true => self.on_silence(),
            false => self.heard = Instant::now(),
        }
    }
}

/// How long a client may take to read the last packets.
fn patience(end: End) -> Duration {
    match end {
        End::TakenOver => HAND_OVER_TIMEOUT,
        _ => CLOSE_TIMEOUT,
    }
}

/// Takes a batch, as soon as its shards have room.
async fn send(
    door: &Door,
    principal: Principal,
    publishes: Vec<(Answer, PublishRequest)>,
) -> (Vec<Answer>, Pending<'_>) {
    let (answers, publishes) = publishes.into_iter().unzip();
    let batch = prepare(door, Protocol::Mqtt, &principal, publishes);
    (answers, batch.send().await)
}

async fn open(
    door: &Arc<Door>,
    principal: Principal,
    wanted: super::subscribe::Wanted,
) -> AllOpened {
    let (packet_id, id) = (wanted.packet_id, wanted.id);
    (packet_id, id, wanted.open(door, &principal).await)
}

async fn poll<T>(future: &mut Option<BoxFuture<'_, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
