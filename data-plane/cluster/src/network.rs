//! Openraft's network over the links: requests of one shard to one peer.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt};
use highwater_proto::{cluster as wire, ids::ShardId, limits::APPENDS_IN_FLIGHT_MAX};
use openraft::{
    AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
        StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse,
    },
};

use crate::{
    Blocking,
    frame::Kind,
    link::{Link, LinkError},
    links::Links,
    machine::{ShardSnapshotOf, SnapshotData},
    raft::{
        LogId, Member, Types, Vote, entry_to_wire, log_id_from_wire, log_id_to_wire,
        membership_to_wire, vote_from_wire, vote_to_wire,
    },
};

type Rpc = RPCError<Types>;

/// How long one chunk of a snapshot may take: the peer writes it to disk before it answers.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes the networks of one shard.
pub struct Network {
    shard: ShardId,
    links: Arc<Links>,
    blocking: Blocking,
}

impl Network {
    /// The network of a shard over these links. Snapshots are read where `blocking` says.
    pub fn new(shard: ShardId, links: Arc<Links>, blocking: Blocking) -> Network {
        Network {
            shard,
            links,
            blocking,
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _member: &Member) -> Peer {
        Peer {
            shard: self.shard,
            target,
            link: self.links.get(target),
            blocking: self.blocking,
        }
    }
}

/// One shard's way to one peer.
pub struct Peer {
    shard: ShardId,
    target: u64,
    /// None for a node this one was not told about.
    link: Option<Arc<Link>>,
    /// Where snapshots are read.
    blocking: Blocking,
}

impl Peer {
    fn link(&self) -> Result<Arc<Link>, Rpc> {
        let unknown = || {
            let error = AnyError::error(format!("node {} is not configured", self.target));
            RPCError::Unreachable(Unreachable::new(&error))
        };
        self.link.clone().ok_or_else(unknown)
    }

    async fn call<T: prost::Message + Default>(
        &self,
        kind: Kind,
        message: &impl prost::Message,
        timeout: Duration,
    ) -> Result<T, Rpc> {
        let call = self.link()?;
        let answer = call.call(kind, self.shard, message, timeout).await;
        answer.map_err(to_rpc_error)
    }
}

fn to_rpc_error(error: LinkError) -> Rpc {
    match error {
        LinkError::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&error)),
        _ => RPCError::Network(NetworkError::new(&error)),
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, Rpc> {
        let message = append_to_wire(request);
        let answer = self
            .call(Kind::Heartbeat, &message, option.soft_ttl())
            .await?;
        Ok(append_from_wire(answer))
    }

    /// Requests go out as they come, up to a limit; answers come back in their order.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, Rpc>>, Rpc>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let opened = self.link().map(|link| {
            let shard = self.shard;
            let answers = input.map(move |request| {
                let last = request
                    .entries
                    .last()
                    .map(|e| e.log_id)
                    .or(request.prev_log_id);
                // Sent here, in order; only the answer is awaited concurrently.
                let pending = link.start(Kind::Append, shard, &append_to_wire(request));
                async move {
                    let answer = pending.answer().await.map_err(to_rpc_error)?;
                    Ok(append_result(answer, last))
                }
            });
            // Nothing behind an error has happened.
            let answers = answers.buffered(APPENDS_IN_FLIGHT_MAX);
            let until_error = answers.scan(false, |failed, result| {
                let over = std::mem::replace(failed, !matches!(result, Ok(Ok(_))));
                std::future::ready((!over).then_some(result))
            });
            until_error.boxed()
        });
        std::future::ready(opened).boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Rpc> {
        let message = vote_request_to_wire(request, false);
        let answer = self.call(Kind::Vote, &message, option.soft_ttl()).await?;
        Ok(vote_response_from_wire(answer))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Rpc> {
        let message = vote_request_to_wire(request, true);
        let answer = self.call(Kind::Vote, &message, option.soft_ttl()).await?;
        Ok(vote_response_from_wire(answer))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: ShardSnapshotOf,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let send = self.send_snapshot(vote, snapshot);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            result = send => result,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<openraft::raft::TransferLeaderResponse<Types>, Rpc> {
        let message = wire::TransferLeaderRequest {
            from: Some(vote_to_wire(request.from_leader())),
            to: *request.to_node_id(),
            last: request.last_log_id().map(log_id_to_wire),
        };
        let _: wire::Blank = self
            .call(Kind::TransferLeader, &message, option.soft_ttl())
            .await?;
        Ok(Ok(()))
    }

    /// A link knows at once when it is up again, so there is little to wait for.
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(Duration::from_millis(50))))
    }
}

impl Peer {
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: ShardSnapshotOf,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Local(mut data) = snapshot.snapshot else {
            let error = AnyError::error("a snapshot that was received is not sent on");
            return Err(StreamingError::Network(NetworkError::new(&error)));
        };
        let begin = wire::SnapshotBegin {
            vote: Some(vote_to_wire(&vote)),
            last: snapshot.meta.last_log_id.as_ref().map(log_id_to_wire),
            membership_log_id: snapshot
                .meta
                .last_membership
                .log_id()
                .as_ref()
                .map(log_id_to_wire),
            membership: Some(membership_to_wire(
                snapshot.meta.last_membership.membership(),
            )),
        };
        let _: wire::Blank = self
            .call(Kind::SnapshotBegin, &begin, CHUNK_TIMEOUT)
            .await?;
        loop {
            let read = move || {
                let chunk = data.next_chunk();
                (data, chunk)
            };
            let chunk;
            (data, chunk) = self.blocking.run(read).await;
            let chunk = chunk.map_err(|error| {
                StreamingError::Network(NetworkError::new(&AnyError::new(&error)))
            })?;
            let Some(pairs) = chunk else {
                break;
            };
            let pairs = pairs
                .into_iter()
                .map(|(key, value)| wire::KeyValue { key, value });
            let chunk = wire::SnapshotChunk {
                pairs: pairs.collect(),
            };
            let _: wire::Blank = self
                .call(Kind::SnapshotChunk, &chunk, CHUNK_TIMEOUT)
                .await?;
        }
        let end = wire::SnapshotEnd {};
        let answer: wire::SnapshotResponse =
            self.call(Kind::SnapshotEnd, &end, CHUNK_TIMEOUT).await?;
        Ok(SnapshotResponse {
            vote: vote_from_wire(answer.vote.unwrap_or_default()),
        })
    }
}

fn append_to_wire(request: AppendEntriesRequest<Types>) -> wire::AppendRequest {
    wire::AppendRequest {
        vote: Some(vote_to_wire(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to_wire),
        entries: request.entries.into_iter().map(entry_to_wire).collect(),
        committed: request.leader_commit.as_ref().map(log_id_to_wire),
    }
}

fn append_from_wire(answer: wire::AppendResponse) -> AppendEntriesResponse<Types> {
    use wire::append_response::Outcome;
    match answer.outcome {
        Some(Outcome::Success(_)) => AppendEntriesResponse::Success,
        Some(Outcome::Matched(id)) => {
            AppendEntriesResponse::PartialSuccess(Some(log_id_from_wire(id)))
        }
        Some(Outcome::MatchedNone(_)) => AppendEntriesResponse::PartialSuccess(None),
        Some(Outcome::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote_from_wire(vote)),
        Some(Outcome::Conflict(_)) | None => AppendEntriesResponse::Conflict,
    }
}

/// `last` is the last entry of the request.
fn append_result(answer: wire::AppendResponse, last: Option<LogId>) -> StreamAppendResult<Types> {
    use wire::append_response::Outcome;
    match answer.outcome {
        Some(Outcome::Success(_)) => Ok(last),
        Some(Outcome::Matched(id)) => Ok(Some(log_id_from_wire(id))),
        Some(Outcome::MatchedNone(_)) => Ok(None),
        Some(Outcome::HigherVote(vote)) => Err(StreamAppendError::HigherVote(vote_from_wire(vote))),
        // The follower names the entry; a request from the very beginning cannot conflict.
        Some(Outcome::Conflict(id)) => Err(StreamAppendError::Conflict(log_id_from_wire(id))),
        None => Ok(None),
    }
}

fn vote_request_to_wire(request: VoteRequest<Types>, pre_vote: bool) -> wire::VoteRequest {
    wire::VoteRequest {
        vote: Some(vote_to_wire(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id_to_wire),
        pre_vote,
        leader_transfer: request.leadership_transfer,
    }
}

fn vote_response_from_wire(answer: wire::VoteResponse) -> VoteResponse<Types> {
    VoteResponse::new(
        vote_from_wire(answer.vote.unwrap_or_default()),
        answer.last.map(log_id_from_wire),
        answer.granted,
    )
}
