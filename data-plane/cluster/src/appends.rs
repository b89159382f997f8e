//! A leader's ordered stream of append requests for one shard, on one connection.
//!
//! Openraft ends such a stream at the first conflict or higher vote. What was pipelined behind is
//! void then, and the leader knows it as soon as it reads that answer; so the session is marked as
//! over before the answer goes out, and whatever comes after it starts a new session.

use std::{collections::VecDeque, io, sync::Arc};

use futures_util::{StreamExt, stream};
use highwater_proto::{ErrorCode, cluster as wire, limits::APPEND_QUEUE_MAX};
use openraft::raft::{AppendEntriesRequest, StreamAppendError};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    frame::{Frame, Kind},
    raft::{Types, log_id_to_wire, vote_to_wire},
    replica::Replica,
    requests::{refusal, refused},
    task::Tasks,
};

type Request = AppendEntriesRequest<Types>;

/// One stream, until it fails.
pub struct AppendSession {
    requests: mpsc::Sender<(u64, Request)>,
    over: CancellationToken,
}

impl AppendSession {
    /// Starts a stream whose answers go to `answers`. It ends with the connection.
    pub fn start(
        replica: Arc<Replica>,
        answers: mpsc::Sender<Frame>,
        tasks: &Tasks,
        connection: CancellationToken,
    ) -> AppendSession {
        let (requests, queue) = mpsc::channel(APPEND_QUEUE_MAX);
        let over = connection.child_token();
        let session_over = over.clone();
        tasks.spawn("appends", async move {
            run(&replica, queue, answers, &session_over).await;
            session_over.cancel();
        });
        AppendSession { requests, over }
    }

    /// Whether the stream has failed.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled() || self.requests.is_closed()
    }

    /// Hands in the next request. One that comes while the stream fails is void, as the leader
    /// will see.
    pub async fn push(&self, id: u64, request: Request) -> io::Result<()> {
        tokio::select! {
            _ = self.requests.send((id, request)) => {}
            _ = self.over.cancelled() => {}
        }
        Ok(())
    }
}

async fn run(
    replica: &Replica,
    queue: mpsc::Receiver<(u64, Request)>,
    answers: mpsc::Sender<Frame>,
    over: &CancellationToken,
) {
    let ids: Arc<Mutex<VecDeque<u64>>> = Arc::default();
    let pushed = ids.clone();
    let input = stream::unfold(queue, |mut queue| async {
        let next = queue.recv().await?;
        Some((next, queue))
    });
    let input = input
        .map(move |(id, request)| {
            pushed.lock().push_back(id);
            request
        })
        .take_until(over.clone().cancelled_owned());
    let mut results = replica.raft.stream_append(input).boxed();
    while let Some(result) = results.next().await {
        let Some(id) = ids.lock().pop_front() else {
            break;
        };
        let frame = Frame {
            kind: Kind::Append,
            shard: replica.id,
            id,
            body: Default::default(),
        };
        let (answer, failed) = match result {
            Ok(result) => (frame.answer(&to_wire(&result)), result.is_err()),
            Err(fatal) => {
                tracing::debug!(shard = %replica.id, error = %fatal, "cannot append");
                let refusal = refusal(ErrorCode::Unavailable, "the shard has stopped on this node");
                (refused(&frame, refusal), true)
            }
        };
        if failed {
            over.cancel();
        }
        if answers.send(answer).await.is_err() || failed {
            break;
        }
    }
}

fn to_wire(result: &openraft::raft::StreamAppendResult<Types>) -> wire::AppendResponse {
    use wire::append_response::Outcome;
    let outcome = match result {
        Ok(Some(id)) => Outcome::Matched(log_id_to_wire(id)),
        Ok(None) => Outcome::MatchedNone(wire::Blank {}),
        Err(StreamAppendError::Conflict(id)) => Outcome::Conflict(log_id_to_wire(id)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(vote_to_wire(vote)),
    };
    wire::AppendResponse {
        outcome: Some(outcome),
    }
}
