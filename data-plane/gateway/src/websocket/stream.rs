//! A WebSocket whose binary messages are pieces of a stream of bytes, with no meaning of their own: what MQTT
//! is carried in (MQTT 5.0, section 6).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use highwater_proto::limits::{
    MQTT_CONNECT_BYTES_MAX, MQTT_PACKET_BYTES_MAX, SOCKET_QUEUE_BYTES_MAX, SOCKET_READ_BYTES_MAX,
};
use highwater_websocket::{Closing, Decoder, Event, Opcode, Role, Violation, close, frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{io::Transport, read_in::poll_read_some};

/// The stream in both directions. A message of text, which MQTT must not be in, ends it (MQTT-6.0.0-1).
pub struct Stream<I> {
    io: I,
    decoder: Decoder,
    closing: Closing,
    /// The code and the reason with which it is shut down.
    goodbye: (u16, &'static str),
    /// As it came, masked and in frames.
    raw: BytesMut,
    /// The rest of the last message.
    message: Bytes,
    /// Frames that wait to be written.
    out: BytesMut,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Stream<I> {
    /// A connection whose handshake is done, without extensions.
    pub fn new(io: I) -> Stream<I> {
        Stream {
            io,
            // Nobody knows yet who it is. A packet may be in several messages.
            decoder: Decoder::new(Role::Server, MQTT_CONNECT_BYTES_MAX, None),
            closing: Closing::default(),
            goodbye: (close::NORMAL, ""),
            raw: BytesMut::new(),
            message: Bytes::new(),
            out: BytesMut::new(),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Binary(message) => {
                self.message = message;
                self.decoder.set_message_bytes_max(MQTT_PACKET_BYTES_MAX);
            }
            Event::Text(_) => self.close(close::UNSUPPORTED, "MQTT is in binary messages"),
            Event::Ping(payload) => {
                // One that floods with pings and reads nothing is answered to the last that has room.
                if self.out.len() < SOCKET_QUEUE_BYTES_MAX {
                    self.out.extend_from_slice(&frame::pong(&payload));
                }
            }
            Event::Pong(_) => {}
            Event::Close(reason) => {
                let answer = self.closing.on_close(reason.as_ref());
                self.last(answer);
            }
        }
    }

    fn on_violation(&mut self, violation: Violation) {
        let last = self.closing.on_violation(violation);
        self.last(last);
    }

    fn close(&mut self, code: u16, reason: &str) {
        let last = self.closing.start(code, reason);
        self.last(last);
    }

    fn last(&mut self, frame: Option<Bytes>) {
        frame
            .iter()
            .for_each(|frame| self.out.extend_from_slice(frame));
    }

    /// Writes the frames that wait.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        // What a burst has needed is not kept.
        self.out = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Transport for Stream<I> {
    fn will_close(&mut self, code: u16, reason: &'static str) {
        self.goodbye = (code, reason);
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.message.is_empty() {
                let count = this.message.len().min(to.remaining());
                to.put_slice(&this.message.split_to(count));
                return Poll::Ready(Ok(()));
            }
            if !this.out.is_empty() {
                // Answers to pings. Whether they can be written now or not, there is more to read.
                if let Poll::Ready(Err(error)) = this.poll_out(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            if !this.closing.is_open() {
                return Poll::Ready(Ok(()));
            }
            match this.decoder.feed(&mut this.raw) {
                Ok(Some(event)) => this.on_event(event),
                Err(violation) => this.on_violation(violation),
                Ok(None) => {
                    if this.raw.is_empty() {
                        this.raw = BytesMut::new();
                    }
                    let missing = this.decoder.missing_bytes(&this.raw);
                    let wanted = missing.min(SOCKET_READ_BYTES_MAX);
                    if ready!(poll_read_some(&mut this.io, cx, &mut this.raw, wanted))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.closing.is_open() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.out.len() >= SOCKET_READ_BYTES_MAX {
            ready!(this.poll_out(cx))?;
        }
        let count = from.len().min(SOCKET_READ_BYTES_MAX);
        frame::append(&mut this.out, Opcode::Binary, &from[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_open() {
            let (code, reason) = this.goodbye;
            this.close(code, reason);
        }
        ready!(this.poll_out(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
