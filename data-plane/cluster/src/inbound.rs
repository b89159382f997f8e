//! The connections other nodes open to this one: their requests come in, answers go back.
//!
//! Appends of one shard are handed to Raft in the order they came, without waiting for one before
//! the next, so that replication is pipelined, and writes for a leader here go to its queue in the
//! order they came. Everything else is done by a task of its own, at most a fixed number at a time.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use highwater_proto::{
    ErrorCode, cluster as wire,
    ids::{NodeId, ShardId},
    limits::{
        PEER_FRAME_BYTES_MAX, PEER_HANDSHAKES_MAX, PEER_HELLO_BYTES_MAX, PEER_QUEUE_MAX,
        PEER_REQUESTS_MAX,
    },
};
use parking_lot::Mutex;
use prost::Message;
use rustc_hash::FxHashMap;
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::{Semaphore, mpsc},
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    appends::AppendSession,
    cluster::OnUsage,
    frame::{Frame, Kind, Reader, VERSION},
    replica::Replica,
    requests::{self, Receiving},
    task::Tasks,
    transport::{BoxIo, Transport},
};

/// How long a new connection has to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing comes for so long, not even pings, is dead.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Bytes of one write to the socket, about.
const WRITE_BYTES: usize = 256 << 10;

/// What all connections share.
pub struct Inbound {
    /// This node.
    pub node: u64,
    /// The cluster's name: a node of another cluster is turned away.
    pub cluster: String,
    /// The other nodes. Nobody else is let in.
    pub peers: Vec<u64>,
    /// The replicas of this node, by shard.
    pub replicas: Vec<Arc<Replica>>,
    /// Hears what the peers are used for.
    pub on_usage: OnUsage,
    /// Where the tasks run.
    pub tasks: Tasks,
}

impl Inbound {
    /// Takes connections until the node stops.
    pub async fn run(self: Arc<Inbound>, transport: Arc<dyn Transport>) {
        let handshakes = Arc::new(Semaphore::new(PEER_HANDSHAKES_MAX));
        loop {
            let permit = handshakes.clone().acquire_owned().await;
            let handshake = match transport.accept().await {
                Ok(handshake) => handshake,
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to come free.
                    tracing::warn!(%error, "cannot take connections of peers");
                    time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let inbound = self.clone();
            self.tasks.spawn("inbound", async move {
                let greeted = time::timeout(HELLO_TIMEOUT, async {
                    let io = handshake.await?;
                    inbound.greet(io).await
                });
                match greeted.await {
                    Ok(Ok((peer, reader, write))) => {
                        drop(permit);
                        let ended = inbound.serve(peer, reader, write).await;
                        tracing::debug!(?ended, "a peer's connection ended");
                    }
                    Ok(Err(error)) => tracing::warn!(%error, "turned a peer away"),
                    Err(_) => tracing::warn!("a peer took too long to say hello"),
                }
            });
        }
    }

    /// Checks who calls, and answers.
    async fn greet(
        &self,
        io: BoxIo,
    ) -> io::Result<(NodeId, Reader<tokio::io::ReadHalf<BoxIo>>, WriteHalf<BoxIo>)> {
        let (read, mut write) = tokio::io::split(io);
        let mut reader = Reader::new(read, PEER_HELLO_BYTES_MAX);
        let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
        let frame = match reader.next().await? {
            Some(frame) if frame.kind == Kind::Hello => frame,
            other => {
                let kind = other.map(|frame| frame.kind);
                return Err(invalid(format!("{kind:?} in place of a hello")));
            }
        };
        let hello = wire::Hello::decode(frame.body.clone()).map_err(io::Error::other)?;
        if hello.version != VERSION {
            return Err(invalid(format!("protocol version {}", hello.version)));
        }
        if hello.cluster != self.cluster || hello.to != self.node {
            let (node, cluster) = (hello.to, hello.cluster);
            return Err(invalid(format!(
                "a call for node {node} of cluster {cluster}"
            )));
        }
        if !self.peers.contains(&hello.node) {
            let caller = hello.node;
            return Err(invalid(format!(
                "a call of node {caller}, which is no peer"
            )));
        }
        reader.frame_bytes_max = PEER_FRAME_BYTES_MAX;
        let mut answer = BytesMut::new();
        frame.answer(&wire::Blank {}).encode(&mut answer);
        write.write_all(&answer).await?;
        write.flush().await?;
        Ok((NodeId(hello.node), reader, write))
    }

    async fn serve(
        &self,
        peer: NodeId,
        mut reader: Reader<tokio::io::ReadHalf<BoxIo>>,
        write: WriteHalf<BoxIo>,
    ) -> io::Result<()> {
        let (answers, queue) = mpsc::channel(PEER_QUEUE_MAX);
        let ended = CancellationToken::new();
        let _end = ended.clone().drop_guard();
        {
            let ended = ended.clone();
            self.tasks.spawn("inbound answers", async move {
                let written = ended.run_until_cancelled(write_answers(queue, write)).await;
                // Without a way back the connection is of no use: the reader must notice too.
                ended.cancel();
                tracing::trace!(?written, "stopped answering a peer");
            });
        }
        let connection = Connection {
            inbound: self,
            peer,
            answers,
            appends: FxHashMap::default(),
            receiving: Arc::default(),
            room: Arc::new(Semaphore::new(PEER_REQUESTS_MAX)),
            ended: ended.clone(),
        };
        tokio::select! {
            result = connection.read(&mut reader) => result,
            _ = ended.cancelled() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

struct Connection<'a> {
    inbound: &'a Inbound,
    peer: NodeId,
    answers: mpsc::Sender<Frame>,
    appends: FxHashMap<ShardId, AppendSession>,
    receiving: Arc<Mutex<FxHashMap<ShardId, Receiving>>>,
    room: Arc<Semaphore>,
    ended: CancellationToken,
}

impl Connection<'_> {
    async fn read(mut self, reader: &mut Reader<tokio::io::ReadHalf<BoxIo>>) -> io::Result<()> {
        loop {
            let next = time::timeout(SILENCE_MAX, reader.next()).await;
            let Some(frame) = next.map_err(|_| io::ErrorKind::TimedOut)?? else {
                return Ok(());
            };
            self.on_frame(frame).await?;
        }
    }

    async fn on_frame(&mut self, frame: Frame) -> io::Result<()> {
        if frame.kind == Kind::Ping {
            let answer = frame.answer(&wire::Blank {});
            return self.answers.send(answer).await.map_err(io::Error::other);
        }
        if frame.kind == Kind::Usage {
            let report = wire::UsageReport::decode(frame.body.clone());
            (self.inbound.on_usage)(self.peer, report.map_err(io::Error::other)?);
            let answer = frame.answer(&wire::Blank {});
            return self.answers.send(answer).await.map_err(io::Error::other);
        }
        let replica = self.inbound.replicas.get(frame.shard.0 as usize);
        let Some(replica) = replica.cloned() else {
            let refusal = requests::refusal(ErrorCode::NoLeader, "there is no such shard here");
            let refused = requests::refused(&frame, refusal);
            return self.answers.send(refused).await.map_err(io::Error::other);
        };
        if frame.kind == Kind::Append {
            return self.on_append(frame, &replica).await;
        }
        let permit = self
            .room
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (answers, receiving) = (self.answers.clone(), self.receiving.clone());
        let ended = self.ended.clone();
        let queued = match frame.kind {
            Kind::Publish | Kind::DeleteTopic | Kind::Reading => {
                Some(requests::queue(&frame, &replica))
            }
            _ => None,
        };
        self.inbound.tasks.spawn("peer request", async move {
            let answer = async {
                match queued {
                    Some(queued) => requests::answer_write(frame, &replica, queued).await,
                    None => requests::answer(frame, &replica, &receiving).await,
                }
            };
            if let Some(answer) = ended.run_until_cancelled(answer).await {
                // The connection may have ended.
                let _ = answers.send(answer).await;
            }
            drop(permit);
        });
        Ok(())
    }

    async fn on_append(&mut self, frame: Frame, replica: &Arc<Replica>) -> io::Result<()> {
        replica.wake();
        let (shard, id) = (frame.shard, frame.id);
        let request = requests::append_from_wire(frame.body)?;
        if let Some(session) = self.appends.get(&shard)
            && !session.is_over()
        {
            return session.push(id, request).await;
        }
        let session = AppendSession::start(
            replica.clone(),
            self.answers.clone(),
            &self.inbound.tasks,
            self.ended.clone(),
        );
        session.push(id, request).await?;
        self.appends.insert(shard, session);
        Ok(())
    }
}

/// Writes answers as they come, as many as there are at once.
async fn write_answers(
    mut queue: mpsc::Receiver<Frame>,
    mut write: WriteHalf<BoxIo>,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(16 << 10);
    while let Some(frame) = queue.recv().await {
        frame.encode(&mut buffer);
        while buffer.len() < WRITE_BYTES
            && let Ok(frame) = queue.try_recv()
        {
            frame.encode(&mut buffer);
        }
        write.write_all_buf(&mut buffer).await?;
        write.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
