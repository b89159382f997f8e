//! The connection this node opens to one peer: requests of all shards go out on it, answers come back.
//!
//! A link is kept up by one task that dials, says hello, and then reads answers and writes requests
//! until the connection breaks, and dials again. What was under way when it broke fails at once; a
//! request is never sent twice. A broken link is told to whoever listens, because a dead process
//! closes its sockets long before an election timeout.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use highwater_proto::{
    ErrorCode, cluster as wire,
    ids::{NodeId, ShardId},
    limits::{PEER_FRAME_BYTES_MAX, PEER_QUEUE_MAX},
};
use parking_lot::Mutex;
use prost::Message;
use rustc_hash::FxHashMap;
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::{mpsc, oneshot, watch},
    time,
};

use crate::{
    frame::{Frame, Kind, Reader},
    metrics::Metrics,
    transport::{BoxIo, Transport},
};

/// How often a silent link is asked whether it is alive.
const PING_INTERVAL: Duration = Duration::from_millis(250);
/// How long a link may be silent before it counts as broken.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);
/// How long a dial and its handshake may take.
const DIAL_TIMEOUT: Duration = Duration::from_millis(1_000);
/// The pause between two dials that fail.
const REDIAL_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of one write to the socket, about.
const WRITE_BYTES: usize = 256 << 10;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no connection, or it is choked: the request was not sent.
    #[error("node {0} cannot be reached")]
    Unreachable(NodeId),
    /// The connection broke after the request may have been sent.
    #[error("the connection to node {0} broke before it answered")]
    Broken(NodeId),
    /// The peer refused.
    #[error("node {node} refused: {}", refusal.message)]
    Refused {
        /// The peer.
        node: NodeId,
        /// What it said.
        refusal: wire::Refusal,
    },
    /// The answer cannot be decoded.
    #[error("the answer of node {0} cannot be decoded: {1}")]
    Garbled(NodeId, prost::DecodeError),
}

/// Requests to one peer.
pub struct Link {
    peer: NodeId,
    queue: mpsc::Sender<Outgoing>,
    up: watch::Receiver<bool>,
}

struct Outgoing {
    kind: Kind,
    shard: ShardId,
    body: Bytes,
    answer: oneshot::Sender<Frame>,
}

/// An answer that is on its way. Requests are sent in the order of the calls that return these.
pub struct Pending {
    peer: NodeId,
    answer: Result<oneshot::Receiver<Frame>, LinkError>,
}

impl Pending {
    /// Waits for the answer.
    pub async fn answer<T: Message + Default>(self) -> Result<T, LinkError> {
        let peer = self.peer;
        let frame = self.answer?.await.map_err(|_| LinkError::Broken(peer))?;
        match frame.kind {
            Kind::Refused => Err(LinkError::Refused {
                node: peer,
                refusal: wire::Refusal::decode(frame.body)
                    .map_err(|error| LinkError::Garbled(peer, error))?,
            }),
            _ => T::decode(frame.body).map_err(|error| LinkError::Garbled(peer, error)),
        }
    }
}

impl LinkError {
    /// Whether the peer has certainly done nothing.
    pub fn has_no_side_effects(&self) -> bool {
        match self {
            LinkError::Unreachable(_) => true,
            LinkError::Broken(_) | LinkError::Garbled(..) => false,
            LinkError::Refused { refusal, .. } => {
                ErrorCode::from_number(refusal.error).is_some_and(ErrorCode::has_no_side_effects)
            }
        }
    }
}

impl Link {
    /// The peer.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Changes whenever the connection comes or goes.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.up.clone()
    }

    /// Sends a request now. Fails at once, in the answer, when there is no connection or too much
    /// is waiting for it.
    pub fn start(&self, kind: Kind, shard: ShardId, message: &impl Message) -> Pending {
        let (answer, receiver) = oneshot::channel();
        let outgoing = Outgoing {
            kind,
            shard,
            body: message.encode_to_vec().into(),
            answer,
        };
        let sent = self.is_up() && self.queue.try_send(outgoing).is_ok();
        Pending {
            peer: self.peer,
            answer: match sent {
                true => Ok(receiver),
                false => Err(LinkError::Unreachable(self.peer)),
            },
        }
    }

    /// Sends a request and waits for its answer, for at most this long.
    pub async fn call<T: Message + Default>(
        &self,
        kind: Kind,
        shard: ShardId,
        message: &impl Message,
        timeout: Duration,
    ) -> Result<T, LinkError> {
        let pending = self.start(kind, shard, message);
        match time::timeout(timeout, pending.answer()).await {
            Ok(result) => result,
            Err(_) => Err(LinkError::Broken(self.peer)),
        }
    }
}

/// What keeps a [`Link`] up.
pub struct LinkTask {
    /// The first frame of every connection.
    pub hello: wire::Hello,
    /// Where the peer listens.
    pub address: String,
    /// How to get there.
    pub transport: Arc<dyn Transport>,
    /// Counts lost connections.
    pub metrics: Arc<Metrics>,
    queue: mpsc::Receiver<Outgoing>,
    up: watch::Sender<bool>,
}

impl LinkTask {
    /// A link and the task behind it.
    pub fn new(
        hello: wire::Hello,
        address: String,
        transport: Arc<dyn Transport>,
        metrics: Arc<Metrics>,
    ) -> (Link, LinkTask) {
        let (queue_tx, queue) = mpsc::channel(PEER_QUEUE_MAX);
        let (up, up_rx) = watch::channel(false);
        let link = Link {
            peer: NodeId(hello.to),
            queue: queue_tx,
            up: up_rx,
        };
        let task = LinkTask {
            hello,
            address,
            transport,
            metrics,
            queue,
            up,
        };
        (link, task)
    }

    /// Dials and serves, again and again.
    pub async fn run(mut self) {
        loop {
            match time::timeout(DIAL_TIMEOUT, self.transport.dial(&self.address)).await {
                Ok(Ok(io)) => {
                    let result = self.serve(io).await;
                    if self.up.send_replace(false) {
                        self.metrics.peer_disconnects.inc();
                        let reason = result.err();
                        tracing::info!(
                            peer = self.hello.to,
                            ?reason,
                            "lost the connection to a peer"
                        );
                    }
                }
                Ok(Err(error)) => tracing::debug!(peer = self.hello.to, %error, "cannot dial"),
                Err(_) => tracing::debug!(peer = self.hello.to, "dialling takes too long"),
            }
            // Requests that slipped in between the two states fail instead of waiting for a dial.
            while self.queue.try_recv().is_ok() {}
            time::sleep(REDIAL_PAUSE).await;
        }
    }

    /// One connection, from hello to its end.
    async fn serve(&mut self, io: BoxIo) -> io::Result<()> {
        let (read, mut write) = tokio::io::split(io);
        let mut reader = Reader::new(read, PEER_FRAME_BYTES_MAX);
        let waiting: Arc<Mutex<FxHashMap<u64, oneshot::Sender<Frame>>>> = Arc::default();
        let mut hello = BytesMut::new();
        let frame = |id, kind, body| Frame {
            kind,
            shard: ShardId(0),
            id,
            body,
        };
        frame(0, Kind::Hello, self.hello.encode_to_vec().into()).encode(&mut hello);
        write.write_all(&hello).await?;
        write.flush().await?;
        // The peer answers the hello, or closes: only then is the link of use.
        let answer = time::timeout(DIAL_TIMEOUT, reader.next()).await;
        match answer.map_err(|_| io::ErrorKind::TimedOut)?? {
            Some(frame) if frame.kind == Kind::Answer => {}
            _ => return Err(io::Error::other("the peer did not answer the hello")),
        }
        self.up.send_replace(true);
        tracing::info!(peer = self.hello.to, "connected to a peer");

        let answers = async {
            loop {
                let next = time::timeout(SILENCE_MAX, reader.next()).await;
                let Some(frame) = next.map_err(|_| io::ErrorKind::TimedOut)?? else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                let waiter = waiting.lock().remove(&frame.id);
                if let Some(waiter) = waiter {
                    // The caller may have given up.
                    let _ = waiter.send(frame);
                }
            }
        };
        let requests = write_requests(&mut self.queue, &mut write, &waiting);
        tokio::select! {
            biased;
            result = answers => result,
            result = requests => result,
        }
    }
}

/// Writes what is queued, as much as there is at once, and pings when there is nothing.
async fn write_requests(
    queue: &mut mpsc::Receiver<Outgoing>,
    write: &mut WriteHalf<BoxIo>,
    waiting: &Mutex<FxHashMap<u64, oneshot::Sender<Frame>>>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(WRITE_BYTES);
    let mut next_id = 1;
    loop {
        let first = match time::timeout(PING_INTERVAL, queue.recv()).await {
            Ok(Some(first)) => Some(first),
            Ok(None) => return Ok(()),
            Err(_) => None,
        };
        let mut pending = first;
        while let Some(outgoing) = pending {
            // A caller that has gone needs no answer and no request.
            if !outgoing.answer.is_closed() {
                let frame = Frame {
                    kind: outgoing.kind,
                    shard: outgoing.shard,
                    id: next_id,
                    body: outgoing.body,
                };
                next_id += 1;
                frame.encode(&mut buffer);
                waiting.lock().insert(frame.id, outgoing.answer);
            }
            pending = match buffer.len() < WRITE_BYTES {
                true => queue.try_recv().ok(),
                false => None,
            };
        }
        // Also when there were requests, but all of callers that have gone.
        if buffer.is_empty() {
            let ping = Frame {
                kind: Kind::Ping,
                shard: ShardId(0),
                id: 0,
                body: Bytes::new(),
            };
            ping.encode(&mut buffer);
        }
        write.write_all_buf(&mut buffer).await?;
        write.flush().await?;
        if waiting.lock().len() > PEER_QUEUE_MAX {
            waiting.lock().retain(|_, waiter| !waiter.is_closed());
        }
    }
}
