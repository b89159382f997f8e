//! One publisher: a stream that makes its requests when it is polled, and a task that counts the outcomes.
//!
//! Open loop, each message has a moment at which it is due, whatever became of those before it, and
//! its latency counts from there: a server that stalls is not spared the messages that were due
//! meanwhile (no coordinated omission). Closed loop, the next message is due when there is room.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, task::AtomicWaker};
use highwater_proto::frame::Frame;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use tokio::time::Sleep;
use tonic_prost::ProstCodec;

use super::{
    Run,
    wire::{Encoder, Outcomes},
};

/// Bytes of payload at which a request is closed; a single message may exceed it.
const REQUEST_BYTES: usize = 256 << 10;

/// When one publisher's messages are due.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As soon as there is room.
    Closed,
    /// Every so many nanoseconds, from an offset on.
    Open {
        /// Between two messages.
        interval: f64,
        /// Of the first one.
        offset: f64,
    },
}

impl Pace {
    /// When message `n` is due, if that is a matter of time alone.
    fn due(self, n: u64) -> Option<u64> {
        match self {
            Pace::Closed => None,
            Pace::Open { interval, offset } => Some((offset + n as f64 * interval) as u64),
        }
    }
}

/// What the sending and the counting side of a publisher share.
#[derive(Debug, Default)]
struct Window {
    /// When each unanswered message was due.
    waiting: Mutex<VecDeque<u64>>,
    /// The sending side, waiting for room.
    room: AtomicWaker,
}

/// The sending side.
struct Requests {
    run: Arc<Run>,
    window: Arc<Window>,
    pace: Pace,
    /// Messages made so far; over all connections of this publisher.
    made: Arc<Mutex<u64>>,
    topic: usize,
    sleep: Pin<Box<Sleep>>,
}

impl Stream for Requests {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let this = &mut *self;
        // Registered first: an outcome that comes while this runs must not be missed.
        this.window.room.register(cx.waker());
        loop {
            let now = this.run.clock.now();
            if now >= this.run.send_until() {
                return Poll::Ready(None);
            }
            if let Some(frame) = this.next_frame(now) {
                return Poll::Ready(Some(frame));
            }
            let next_due = this.pace.due(*this.made.lock());
            let wake = next_due
                .filter(|due| *due > now)
                .unwrap_or(this.run.send_until());
            this.sleep.as_mut().reset(this.run.clock.at(wake).into());
            if this.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Requests {
    /// A request of everything that is due and has room.
    fn next_frame(&mut self, now: u64) -> Option<Frame> {
        let settings = &self.run.settings;
        let mut waiting = self.window.waiting.lock();
        let most = (REQUEST_BYTES / settings.size.max(1)).max(1);
        let room = settings.in_flight.saturating_sub(waiting.len()).min(most);
        let mut made = self.made.lock();
        let encoder: &Encoder = &self.run.encoder;
        let mut buffer = None;
        for _ in 0..room {
            let due = self.pace.due(*made).unwrap_or(now);
            if due > now {
                break;
            }
            let buffer = buffer.get_or_insert_with(|| encoder.buffer(room));
            encoder.put(self.topic, due, buffer);
            waiting.push_back(due);
            *made += 1;
            self.topic += settings.publishers;
            if self.topic >= encoder.topics() {
                self.topic %= encoder.topics();
            }
        }
        buffer.map(|buffer| Frame::new(vec![buffer.freeze()]))
    }
}

/// Publishes until the run ends, over as many connections as break.
pub async fn publish(run: Arc<Run>, index: usize, pace: Pace) {
    let window = Arc::new(Window::default());
    let made = Arc::new(Mutex::new(0));
    let mut attempt = 0;
    while run.clock.now() < run.send_until() {
        let requests = Requests {
            run: run.clone(),
            window: window.clone(),
            pace,
            made: made.clone(),
            topic: index % run.encoder.topics(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        };
        if let Err(error) = count(&run, &window, requests, index, attempt).await {
            run.complain("publisher", &error);
        }
        let lost = std::mem::take(&mut *window.waiting.lock()).len();
        run.failures
            .unknown
            .fetch_add(lost as u64, Ordering::Relaxed);
        attempt += 1;
        if run.clock.now() < run.send_until() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Counts the outcomes of one connection until it ends.
async fn count(
    run: &Run,
    window: &Window,
    requests: Requests,
    index: usize,
    attempt: usize,
) -> anyhow::Result<()> {
    let mut grpc = run.grpc(index, attempt);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/highwater.client.v1.Highwater/PublishStream");
    let codec = ProstCodec::<Frame, Outcomes>::default();
    let request = tonic::Request::new(requests);
    let mut responses = grpc.streaming(request, path, codec).await?.into_inner();
    while let Some(outcomes) = responses.message().await? {
        let now = run.clock.now();
        let refused = outcomes.errors.len();
        for error in &outcomes.errors {
            if run.failures.add(&error.code) {
                eprintln!("refused: {}: {}", error.code, error.message);
            }
        }
        let mut waiting = window.waiting.lock();
        let answered = outcomes.count.min(waiting.len());
        // Which of them were refused matters only for runs that have failed anyway.
        let begins = waiting.drain(..answered).skip(refused);
        run.acks.record(index, now, begins);
        drop(waiting);
        window.room.wake();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_loop_messages_are_due_whatever_happens() {
        let pace = Pace::Open {
            interval: 250.0,
            offset: 100.0,
        };
        assert_eq!(pace.due(0), Some(100));
        assert_eq!(pace.due(4), Some(1_100));
        assert_eq!(Pace::Closed.due(7), None);
    }
}
