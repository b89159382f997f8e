//! What another node asks of a replica here, one request at a time.

use std::{io, sync::Arc};

use bytes::Bytes;
use highwater_broker::{
    handle::{Publish, Published, Retain, TopicEnd, TopicPolicy},
    refusal::{Refusal, Result},
};
use highwater_proto::{
    ErrorCode, cluster as wire,
    ids::{ProjectId, ShardId, TopicId},
    names::TopicName,
};
use highwater_storage::{snapshot::Installer, store::StoreError};
use openraft::{
    Snapshot,
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest},
};
use parking_lot::Mutex;
use prost::Message;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc::error::TrySendError, oneshot};

use crate::{
    frame::{Frame, Kind},
    machine::SnapshotData,
    raft::{
        SnapshotMeta, Stored, Types, Vote, entry_from_wire, log_id_from_wire, log_id_to_wire,
        membership_from_wire, vote_from_wire, vote_to_wire,
    },
    replica::{Forwarded, Replica, no_leader},
};

/// A snapshot that is coming in.
pub struct Receiving {
    vote: Vote,
    meta: SnapshotMeta,
    installer: Installer,
}

/// The answer to any request but an append of a stream.
pub async fn answer(
    frame: Frame,
    replica: &Arc<Replica>,
    receiving: &Mutex<FxHashMap<ShardId, Receiving>>,
) -> Frame {
    let body = frame.body.clone();
    if matches!(
        frame.kind,
        Kind::Vote | Kind::TransferLeader | Kind::SnapshotBegin
    ) {
        replica.wake();
    }
    let answer = match frame.kind {
        Kind::Heartbeat => heartbeat(body, replica).await.map(|m| frame.answer(&m)),
        Kind::Vote => vote(body, replica).await.map(|m| frame.answer(&m)),
        Kind::TransferLeader => transfer(body, replica).await.map(|m| frame.answer(&m)),
        Kind::SnapshotBegin => begin_snapshot(body, replica, receiving)
            .await
            .map(|m| frame.answer(&m)),
        Kind::SnapshotChunk => add_chunk(body, replica, receiving)
            .await
            .map(|m| frame.answer(&m)),
        Kind::SnapshotEnd => end_snapshot(replica, receiving)
            .await
            .map(|m| frame.answer(&m)),
        Kind::ReadIndex => replica
            .read_index_here()
            .await
            .map(|index| frame.answer(&wire::ReadIndexResponse { index: Some(index) })),
        Kind::Hibernate => decode(body).map(|request| {
            let asleep = replica.on_hibernate(&request);
            frame.answer(&wire::HibernateResponse { asleep })
        }),
        Kind::PeerUp => decode(body).map(|request: wire::PeerUpRequest| {
            let up = replica.links.is_up(request.node);
            frame.answer(&wire::PeerUpResponse { up })
        }),
        // Those keep an order, and are taken one after the other.
        Kind::Append | Kind::Publish | Kind::DeleteTopic | Kind::Reading => {
            Err(Refusal::new(ErrorCode::Internal, "taken out of order"))
        }
        Kind::Hello | Kind::Ping | Kind::Answer | Kind::Refused | Kind::Usage => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "not a request of a shard",
        )),
    };
    answer.unwrap_or_else(|refusal| refusal_of(&frame, replica, &refusal))
}

/// A write that is in the shard's queue.
pub enum Queued {
    Publish(oneshot::Receiver<Result<Vec<Result<Published>>>>),
    DeleteTopic(oneshot::Receiver<Result<bool>>),
    Reading(oneshot::Receiver<Result<()>>),
}

/// Puts a write into the shard's queue.
pub fn queue(frame: &Frame, replica: &Replica) -> Result<Queued> {
    let (forwarded, queued) = match frame.kind {
        Kind::Publish => {
            let request: wire::ForwardPublish = decode(frame.body.clone())?;
            let (reply, outcomes) = oneshot::channel();
            let forwarded = Forwarded::Publish {
                publishes: publishes_from_wire(request)?,
                reply,
            };
            (forwarded, Queued::Publish(outcomes))
        }
        Kind::Reading => {
            let reading: wire::Reading = decode(frame.body.clone())?;
            let (reply, taken) = oneshot::channel();
            let forwarded = Forwarded::Reading { reading, reply };
            (forwarded, Queued::Reading(taken))
        }
        _ => {
            let request: wire::ForwardDeleteTopic = decode(frame.body.clone())?;
            let (reply, existed) = oneshot::channel();
            let forwarded = Forwarded::DeleteTopic {
                project: project_from_wire(&request.project)?,
                topic: TopicName::try_from(request.topic.as_str())?,
                if_end: TopicEnd::from_wire((
                    request.if_next_offset_plus_one,
                    request.if_topic_id_plus_one,
                )),
                reply,
            };
            (forwarded, Queued::DeleteTopic(existed))
        }
    };
    // A sender has one write under way, so there is room, and the connection never waits for it.
    match replica.forwarded.try_send(forwarded) {
        Ok(()) => Ok(queued),
        Err(TrySendError::Full(_)) => Err(no_leader("the leader has too much to do")),
        Err(TrySendError::Closed(_)) => {
            let message = "the shard has stopped on this node";
            Err(Refusal::new(ErrorCode::Draining, message))
        }
    }
}

/// The answer to a write, once its outcome is known.
pub async fn answer_write(frame: Frame, replica: &Replica, queued: Result<Queued>) -> Frame {
    let stopped = |_| interrupted();
    let answer = match queued {
        Ok(Queued::Publish(outcomes)) => {
            let outcomes = outcomes.await.map_err(stopped).flatten();
            outcomes.map(|outcomes| {
                let outcomes = outcomes.iter().map(outcome_to_wire).collect();
                frame.answer(&wire::ForwardPublishResponse { outcomes })
            })
        }
        Ok(Queued::DeleteTopic(existed)) => {
            let existed = existed.await.map_err(stopped).flatten();
            existed.map(|existed| frame.answer(&wire::DeleteTopicResponse { existed }))
        }
        Ok(Queued::Reading(taken)) => {
            let taken = taken.await.map_err(stopped).flatten();
            taken.map(|()| frame.answer(&wire::ReadingTaken {}))
        }
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|refusal| refusal_of(&frame, replica, &refusal))
}

fn refusal_of(frame: &Frame, replica: &Replica, error: &Refusal) -> Frame {
    refused(
        frame,
        wire::Refusal {
            leader: replica.leader().unwrap_or_default(),
            retry_after_ms: error.delay_ms().unwrap_or_default(),
            ..refusal(error.code(), error.message())
        },
    )
}

/// A refusal with a code and a sentence.
pub fn refusal(code: ErrorCode, message: &str) -> wire::Refusal {
    wire::Refusal {
        error: code.number(),
        message: message.to_owned(),
        leader: 0,
        retry_after_ms: 0,
    }
}

/// The frame that refuses a request.
pub fn refused(request: &Frame, refusal: wire::Refusal) -> Frame {
    Frame {
        kind: Kind::Refused,
        ..request.answer(&refusal)
    }
}

/// A refusal, for those who asked another node.
pub fn refusal_from_wire(refusal: wire::Refusal) -> Refusal {
    let code = ErrorCode::from_number(refusal.error).unwrap_or(ErrorCode::Internal);
    let error = Refusal::new(code, refusal.message);
    match refusal.retry_after_ms {
        0 => error,
        delay => error.retry_after_ms(delay),
    }
}

/// Decodes an append request.
pub fn append_from_wire(body: Bytes) -> io::Result<AppendEntriesRequest<Types>> {
    let request = wire::AppendRequest::decode(body).map_err(io::Error::other)?;
    let entries = request.entries.into_iter().map(entry_from_wire);
    Ok(AppendEntriesRequest {
        vote: vote_from_wire(request.vote.unwrap_or_default()),
        prev_log_id: request.previous.map(log_id_from_wire),
        entries: entries.collect::<Result<_, _>>()?,
        leader_commit: request.committed.map(log_id_from_wire),
    })
}

fn decode<T: Message + Default>(body: Bytes) -> Result<T> {
    T::decode(body).map_err(|error| {
        tracing::debug!(%error, "a peer's request cannot be decoded");
        Refusal::new(ErrorCode::InvalidRequest, "the request cannot be decoded")
    })
}

/// What a peer is told when this replica fails; it may tell its client. Why is for this node's log.
fn unavailable(error: impl std::fmt::Display) -> Refusal {
    tracing::debug!(%error, "cannot do what a peer asks");
    Refusal::new(
        ErrorCode::Unavailable,
        "the shard does not work on this node",
    )
}

/// Nobody can say whether it was done.
fn interrupted() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the shard stopped on its leader")
}

fn no_snapshot() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "no snapshot was begun here")
}

async fn heartbeat(body: Bytes, replica: &Replica) -> Result<wire::AppendResponse> {
    use wire::append_response::Outcome;
    let request = append_from_wire(body).map_err(unavailable)?;
    let answer = replica
        .raft
        .append_entries(request)
        .await
        .map_err(unavailable)?;
    let outcome = match answer {
        AppendEntriesResponse::Success => Outcome::Success(wire::Blank {}),
        AppendEntriesResponse::PartialSuccess(Some(id)) => Outcome::Matched(log_id_to_wire(&id)),
        AppendEntriesResponse::PartialSuccess(None) => Outcome::MatchedNone(wire::Blank {}),
        AppendEntriesResponse::Conflict => Outcome::Conflict(wire::LogId::default()),
        AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(vote_to_wire(&vote)),
    };
    Ok(wire::AppendResponse {
        outcome: Some(outcome),
    })
}

async fn vote(body: Bytes, replica: &Replica) -> Result<wire::VoteResponse> {
    let request: wire::VoteRequest = decode(body)?;
    // The lease keeps followers from leaving a leader that is well. One whose connection broke is not.
    let leader = replica.leader().filter(|leader| *leader != replica.node);
    let is_lost = leader.is_some_and(|leader| !replica.links.is_up(leader));
    let vote = VoteRequest {
        vote: vote_from_wire(request.vote.unwrap_or_default()),
        last_log_id: request.last.map(log_id_from_wire),
        leadership_transfer: request.leader_transfer || is_lost,
    };
    let answer = match request.pre_vote {
        true => replica.raft.pre_vote(vote).await,
        false => replica.raft.vote(vote).await,
    };
    let answer = answer.map_err(unavailable)?;
    Ok(wire::VoteResponse {
        vote: Some(vote_to_wire(&answer.vote)),
        last: answer.last_log_id.as_ref().map(log_id_to_wire),
        granted: answer.vote_granted,
    })
}

async fn transfer(body: Bytes, replica: &Replica) -> Result<wire::Blank> {
    let request: wire::TransferLeaderRequest = decode(body)?;
    let transfer = TransferLeaderRequest::new(
        vote_from_wire(request.from.unwrap_or_default()),
        request.to,
        request.last.map(log_id_from_wire),
    );
    // A refused transfer shows itself in the leader's own time-out.
    let _ = replica
        .raft
        .handle_transfer_leader(transfer)
        .await
        .map_err(unavailable)?;
    Ok(wire::Blank {})
}

async fn begin_snapshot(
    body: Bytes,
    replica: &Replica,
    receiving: &Mutex<FxHashMap<ShardId, Receiving>>,
) -> Result<wire::Blank> {
    let begin: wire::SnapshotBegin = decode(body)?;
    let membership = membership_from_wire(begin.membership.unwrap_or_default());
    let store = replica.store.clone();
    // Waits for a checkpoint that is being written.
    let installer = replica.blocking.run(move || store.install()).await;
    let snapshot = Receiving {
        vote: vote_from_wire(begin.vote.unwrap_or_default()),
        meta: SnapshotMeta {
            last_log_id: begin.last.map(log_id_from_wire),
            last_membership: Stored::new(begin.membership_log_id.map(log_id_from_wire), membership),
        },
        installer,
    };
    tracing::info!(shard = %replica.id, "receiving a snapshot");
    let abandoned = receiving.lock().insert(replica.id, snapshot);
    if let Some(abandoned) = abandoned {
        replica.blocking.run(move || drop(abandoned)).await;
    }
    Ok(wire::Blank {})
}

/// Chunks come one after the other, each when the one before was answered. While one is written the
/// snapshot is out of the table, so that no lock is held for it.
async fn add_chunk(
    body: Bytes,
    replica: &Replica,
    receiving: &Mutex<FxHashMap<ShardId, Receiving>>,
) -> Result<wire::Blank> {
    let chunk: wire::SnapshotChunk = decode(body)?;
    let snapshot = receiving.lock().remove(&replica.id);
    let mut snapshot = snapshot.ok_or_else(no_snapshot)?;
    let pairs = chunk
        .pairs
        .into_iter()
        .map(|pair| (pair.key, pair.value))
        .collect();
    let add = move || {
        snapshot.installer.add(pairs)?;
        Ok::<_, StoreError>(snapshot)
    };
    let snapshot = replica.blocking.run(add).await.map_err(unavailable)?;
    // One that was begun meanwhile takes its place.
    receiving.lock().entry(replica.id).or_insert(snapshot);
    Ok(wire::Blank {})
}

async fn end_snapshot(
    replica: &Replica,
    receiving: &Mutex<FxHashMap<ShardId, Receiving>>,
) -> Result<wire::SnapshotResponse> {
    let snapshot = receiving.lock().remove(&replica.id);
    let snapshot = snapshot.ok_or_else(no_snapshot)?;
    let data = Snapshot {
        meta: snapshot.meta,
        snapshot: SnapshotData::Received(Box::new(snapshot.installer)),
    };
    let installed = replica
        .raft
        .install_full_snapshot(snapshot.vote, data)
        .await;
    let answer = installed.map_err(unavailable)?;
    tracing::info!(shard = %replica.id, "installed a snapshot");
    Ok(wire::SnapshotResponse {
        vote: Some(vote_to_wire(&answer.vote)),
    })
}

fn project_from_wire(bytes: &[u8]) -> Result<ProjectId> {
    let invalid = |_| Refusal::new(ErrorCode::InvalidRequest, "the request names no project");
    ProjectId::try_from(bytes).map_err(invalid)
}

fn publishes_from_wire(request: wire::ForwardPublish) -> Result<Vec<Publish>> {
    let mut group_before = 0;
    let publish = |forwarded: wire::ForwardedPublish| {
        let group = forwarded.publish.as_ref().map_or(0, |p| p.group);
        publish_from_wire(forwarded, std::mem::replace(&mut group_before, group))
    };
    request.publishes.into_iter().map(publish).collect()
}

/// A publish as another node has sent it on, after one of this group.
fn publish_from_wire(forwarded: wire::ForwardedPublish, group_before: u32) -> Result<Publish> {
    let publish = forwarded.publish.unwrap_or_default();
    let policy = forwarded.policy.unwrap_or_default();
    let protocol = publish.protocol();
    Ok(Publish {
        project: project_from_wire(&forwarded.project)?,
        topic: TopicName::try_from(forwarded.topic.as_str())?,
        message: publish.message,
        idempotency: publish.idempotency[..].try_into().ok(),
        key: publish.key[..].try_into().ok(),
        if_end: TopicEnd::from_wire((
            publish.if_next_offset_plus_one,
            publish.if_topic_id_plus_one,
        )),
        policy: TopicPolicy::from_wire(&policy),
        retain: Retain::from_wire(publish.retain).ok_or_else(|| {
            let message = "the publish asks for what this release does not know";
            Refusal::new(ErrorCode::InvalidRequest, message)
        })?,
        with_previous: publish.group != 0 && publish.group == group_before,
        protocol,
    })
}

/// A publish with its topic, as it is sent to the leader.
pub fn forwarded_to_wire((publish, group): (&Publish, u32)) -> wire::ForwardedPublish {
    wire::ForwardedPublish {
        project: Bytes::copy_from_slice(publish.project.as_bytes()),
        topic: publish.topic.to_string(),
        publish: Some(publish.to_wire(group)),
        policy: Some(publish.policy.to_wire()),
    }
}

fn outcome_to_wire(outcome: &Result<Published>) -> wire::PublishOutcome {
    match outcome {
        Ok(published) => wire::PublishOutcome {
            topic_id: published.topic.0,
            offset: published.offset,
            duplicate: published.duplicate,
            ..Default::default()
        },
        Err(refusal) => wire::PublishOutcome {
            error: refusal.code().number(),
            message: refusal.message().to_owned(),
            retry_after_ms: refusal.delay_ms().unwrap_or_default(),
            ..Default::default()
        },
    }
}

/// One outcome of a forwarded publish.
pub fn outcome_from_wire(outcome: wire::PublishOutcome) -> Result<Published> {
    match outcome.error {
        0 => Ok(Published {
            topic: TopicId(outcome.topic_id),
            offset: outcome.offset,
            duplicate: outcome.duplicate,
        }),
        error => Err(refusal_from_wire(wire::Refusal {
            error,
            message: outcome.message,
            leader: 0,
            retry_after_ms: outcome.retry_after_ms,
        })),
    }
}

#[cfg(test)]
mod tests;
