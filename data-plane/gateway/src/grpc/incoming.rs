//! The body of a call as it comes in: its messages have so much time and so much memory.
//!
//! The codec above this makes room for a message as soon as its length is announced, so that is when it is
//! counted. A message that is whole with the piece of the body that brought its beginning is not: it is
//! decoded at once. So small messages cost nothing here.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use highwater_broker::{Refusal, Result};
use highwater_proto::{
    ErrorCode,
    limits::{RECEIVING_FREE_BYTES, REQUEST_BYTES_MAX},
};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::receiving::{ConnectionRoom, RequestRoom};

/// A body whose error, if it is not the connection's, is a [`Refusal`].
pub struct Incoming {
    inner: Body,
    framing: Framing,
    room: ConnectionRoom,
    /// Room for the message that is coming.
    coming: Option<RequestRoom>,
    /// That of the message before, which may still be on its way into the handler.
    came: Option<RequestRoom>,
    timeout: Duration,
    pace: Pace,
    /// When the client began to owe what is awaited.
    since: Option<Instant>,
    /// Goes off when what is awaited is late, or earlier.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What of a body has to be there in time.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// All of it.
    Whole,
    /// Its beginning until then, and each message once it has begun.
    Stream {
        /// Nothing when it has begun.
        begin_by: Option<Instant>,
    },
}

impl Incoming {
    /// Watches over a body.
    pub fn new(inner: Body, pace: Pace, room: ConnectionRoom, timeout: Duration) -> Incoming {
        let is_owed = matches!(pace, Pace::Whole);
        Incoming {
            inner,
            framing: Framing::default(),
            room,
            coming: None,
            came: None,
            timeout,
            pace,
            since: is_owed.then(Instant::now),
            timer: None,
        }
    }

    /// Takes note of a piece of the body.
    fn take(&mut self, data: &[u8]) -> Result<()> {
        if self.framing.advance(data) {
            self.came = self.coming.take();
        }
        // A stream that was not read for a while has filled its window meanwhile: that is no delay of the
        // client's.
        if let Pace::Stream { begin_by } = &mut self.pace {
            if begin_by.take().is_some() {
                // Most streams are silent from then on, and need none.
                self.timer = None;
            }
            self.since = None;
        }
        // One that is too large is refused by the codec before it makes room.
        let counted = RECEIVING_FREE_BYTES + 1..=REQUEST_BYTES_MAX;
        if let Some(bytes) = self.framing.announced()
            && self.coming.is_none()
            && counted.contains(&bytes)
        {
            let mut room = self.room.request();
            room.grow(bytes)?;
            self.coming = Some(room);
        }
        Ok(())
    }

    /// Whether what is awaited should have come. If not, the task is woken when it should have.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let due = match self.pace {
            Pace::Stream {
                begin_by: Some(begin_by),
            } => begin_by,
            Pace::Stream { begin_by: None } if !self.framing.has_begun() => return false,
            _ => *self.since.get_or_insert_with(Instant::now) + self.timeout,
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        // Setting it anew for each piece would cost more than to be woken too early once.
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= due {
                return true;
            }
            timer.as_mut().reset(due);
        }
        false
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        // Whoever wants more is done with what came before.
        this.came = None;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let taken = frame.data_ref().map_or(Ok(()), |data| this.take(data));
                let taken = taken.map(|()| frame);
                Poll::Ready(Some(taken.map_err(axum::Error::new)))
            }
            Poll::Pending if this.is_late(cx) => {
                let message = "the request did not come in time";
                let refusal = Refusal::new(ErrorCode::Timeout, message);
                Poll::Ready(Some(Err(axum::Error::new(refusal))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bytes before each message: a flag and the message's length.
const PREFIX_BYTES: usize = 5;

/// Where in its messages a body is (gRPC over HTTP/2, "Length-Prefixed-Message").
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that have come.
    filled: usize,
    /// Bytes of the message that are missing, once the prefix is whole.
    left: usize,
}

impl Framing {
    /// Moves on. Returns whether a message ended.
    fn advance(&mut self, mut data: &[u8]) -> bool {
        let mut ended = false;
        while !data.is_empty() {
            if self.filled < PREFIX_BYTES {
                let (head, rest) = data.split_at(data.len().min(PREFIX_BYTES - self.filled));
                self.prefix[self.filled..][..head.len()].copy_from_slice(head);
                self.filled += head.len();
                data = rest;
                match self.announced() {
                    Some(bytes) => self.left = bytes,
                    None => break,
                }
            }
            let taken = data.len().min(self.left);
            self.left -= taken;
            data = &data[taken..];
            if self.left == 0 {
                self.filled = 0;
                ended = true;
            }
        }
        ended
    }

    /// Whether a message has begun and is not whole.
    fn has_begun(&self) -> bool {
        self.filled > 0
    }

    /// The length of the message that has begun, if it is known yet.
    fn announced(&self) -> Option<usize> {
        let [_, length @ ..] = self.prefix;
        (self.filled == PREFIX_BYTES).then(|| u32::from_be_bytes(length) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((length as u32).to_be_bytes());
        bytes.resize(PREFIX_BYTES + length, 7);
        bytes
    }

    #[test]
    fn messages_are_told_apart_however_the_body_is_cut() {
        let lengths = [0, 1, 300, 0, 70_000];
        let body: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
        let ends: Vec<usize> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += PREFIX_BYTES + length;
                Some(*end)
            })
            .collect();
        for step in [1, 2, 4, 5, 6, 7, 299, 16 << 10, body.len()] {
            let (mut framing, mut at) = (Framing::default(), 0);
            for piece in body.chunks(step) {
                let ended = framing.advance(piece);
                let passed = at + 1..=at + piece.len();
                at += piece.len();
                assert_eq!(ended, ends.iter().any(|end| passed.contains(end)));
                assert_eq!(framing.has_begun(), !ends.contains(&at));
            }
        }
    }

    #[test]
    fn the_length_is_known_with_the_last_byte_of_the_prefix() {
        let mut framing = Framing::default();
        let bytes = message(1_000);
        assert!(!framing.advance(&bytes[..4]));
        assert_eq!((framing.has_begun(), framing.announced()), (true, None));
        assert!(!framing.advance(&bytes[4..5]));
        assert_eq!(framing.announced(), Some(1_000));
    }
}
