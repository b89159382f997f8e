//! The catalogue for control planes: `highwater.control.v1.Catalogue`. Its only credential is made from the
//! cluster's secret.

use std::{pin::Pin, sync::Arc};

use axum::{
    extract::{Request as HttpRequest, State},
    middleware::Next,
    response::Response as HttpResponse,
};
use futures_util::Stream;
use highwater_broker::{
    Broker, Refusal, Result,
    catalogue::{documents, follower::Documents},
    handle::{PageLimits, ReadRequest, interrupted},
    metering, system,
};
use highwater_proto::{
    ErrorCode,
    control::{
        AuditEntry, Cluster, CommitRequest, CommitResponse, GetClusterRequest, Hour, KeyUse,
        ReadAuditRequest, ReadAuditResponse, ReadUsageRequest, ReadUsageResponse, Traffic,
        WatchRequest, WatchResponse, catalogue_server::Catalogue,
    },
    ids::ProjectId,
    limits::{AUDIT_PAGE_MAX, PAGE_BYTES_MAX, USAGE_HOURS_MAX},
};
use tonic::{Request, Response, Status};

use super::status::to_status;
use crate::{authenticate::bearer, gateway::Door, metrics::Protocol};

/// The cluster as this node sees it.
pub type ClusterView = Arc<dyn Fn() -> Cluster + Send + Sync>;

/// Lets only a control plane of this cluster in.
pub async fn authenticated(
    State(door): State<Arc<Door>>,
    request: HttpRequest,
    next: Next,
) -> HttpResponse {
    let credential = bearer(request.headers());
    let refusal = match credential {
        Ok(text) if door.broker.is_service(text) => return next.run(request).await,
        Ok(_) => Refusal::new(ErrorCode::Unauthenticated, "the credential is not valid"),
        Err(refusal) => refusal,
    };
    door.metrics.refused(Protocol::Grpc, &refusal);
    to_status(&refusal).into_http()
}

pub struct Service {
    pub door: Arc<Door>,
    pub cluster: ClusterView,
}

impl Service {
    fn refuse(&self, refusal: &Refusal) -> Status {
        self.door.metrics.refused(Protocol::Grpc, refusal);
        to_status(refusal)
    }
}

type Changes = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Catalogue for Service {
    type WatchStream = Changes;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let broker = self.door.broker.clone();
        let from_version = request.get_ref().from_version;
        let version = broker.committed_catalogue_version().await;
        let version = version.map_err(|r| self.refuse(&r))?;
        if from_version > version {
            let message = "the catalogue has no such version; read it from 0";
            return Err(self.refuse(&Refusal::new(ErrorCode::CursorInvalid, message)));
        }
        let door = self.door.clone();
        let changes = async_stream::try_stream! {
            let refuse = |refusal: Refusal| {
                door.metrics.refused(Protocol::Grpc, &refusal);
                to_status(&refusal)
            };
            let mut documents = Documents::of_replica(broker, from_version);
            while let Some(commits) = documents.try_next().await.map_err(refuse)? {
                yield WatchResponse {
                    documents: commits,
                    version: documents.version(),
                    is_current: documents.version() >= version,
                };
            }
            if documents.version() == from_version {
                yield WatchResponse { documents: vec![], version: from_version, is_current: true };
            }
            loop {
                let commits = documents.next().await.map_err(refuse)?;
                yield WatchResponse {
                    documents: commits,
                    version: documents.version(),
                    is_current: true,
                };
            }
        };
        Ok(Response::new(Box::pin(changes)))
    }

    async fn commit(
        &self,
        request: Request<CommitRequest>,
    ) -> Result<Response<CommitResponse>, Status> {
        let committed = commit(&self.door, request.into_inner()).await;
        committed.map(Response::new).map_err(|r| self.refuse(&r))
    }

    async fn read_audit(
        &self,
        request: Request<ReadAuditRequest>,
    ) -> Result<Response<ReadAuditResponse>, Status> {
        let page = read_audit(&self.door.broker, request.into_inner()).await;
        page.map(Response::new).map_err(|r| self.refuse(&r))
    }

    async fn get_cluster(
        &self,
        _: Request<GetClusterRequest>,
    ) -> Result<Response<Cluster>, Status> {
        Ok(Response::new((self.cluster)()))
    }

    async fn read_usage(
        &self,
        request: Request<ReadUsageRequest>,
    ) -> Result<Response<ReadUsageResponse>, Status> {
        let usage = read_usage(&self.door.broker, request.into_inner()).await;
        usage.map(Response::new).map_err(|r| self.refuse(&r))
    }
}

async fn read_usage(broker: &Broker, request: ReadUsageRequest) -> Result<ReadUsageResponse> {
    let invalid = |message| Refusal::new(ErrorCode::InvalidRequest, message);
    let project = request.project.parse::<ProjectId>();
    let project = project.map_err(|_| invalid("the project is no id"))?;
    let hours = request.from_hour..request.to_hour;
    if hours.end < hours.start || hours.end - hours.start > USAGE_HOURS_MAX {
        return Err(invalid("there are so many hours at most"));
    }
    let hours = metering::usage(broker, project, request.spread as usize, hours).await?;
    let keys = hours.last().map(|hour| hour.keys.iter());
    let keys = keys.into_iter().flatten().map(|(key, used_ms)| KeyUse {
        key: key.to_string(),
        used_ms: *used_ms,
    });
    Ok(ReadUsageResponse {
        keys: keys.collect(),
        hours: hours.iter().map(hour_to_wire).collect(),
    })
}

fn hour_to_wire(hour: &metering::Hour) -> Hour {
    let traffic = metering::PROTOCOLS.into_iter().zip(&hour.traffic);
    let used = traffic.filter(|(_, traffic)| **traffic != metering::Traffic::default());
    let traffic = used.map(|(protocol, traffic)| Traffic {
        protocol: metering::name(protocol).to_owned(),
        messages_in: traffic.messages_in,
        bytes_in: traffic.bytes_in,
        messages_out: traffic.messages_out,
        bytes_out: traffic.bytes_out,
        connection_ms: traffic.connection_ms,
    });
    Hour {
        hour: hour.hour,
        traffic: traffic.collect(),
        stored_bytes: hour.stored_bytes,
        peak_connections: hour.peak_connections,
    }
}

async fn commit(door: &Door, request: CommitRequest) -> Result<CommitResponse> {
    let broker = &door.broker;
    let (count, seen) = (request.documents.len(), request.if_version);
    let publishes = documents::commit(broker.meta_project(), request)?;
    let outcome = broker.meta().append(publishes);
    let outcome = tokio::time::timeout(door.options.publish_timeout, outcome).await;
    let late = |_| {
        let message = "the outcome was not known in time; read the catalogue";
        Refusal::new(ErrorCode::Unavailable, message)
    };
    let published = outcome.map_err(late)??;
    let version = match count.checked_sub(1) {
        None => seen,
        Some(last) => published.get(last).ok_or_else(interrupted)?.offset + 1,
    };
    Ok(CommitResponse { version })
}

/// Cursors of an audit log are offsets: of the next entry, or, newest first, of the one after it.
async fn read_audit(broker: &Broker, request: ReadAuditRequest) -> Result<ReadAuditResponse> {
    let topic = documents::audit_topic(&request.tenant)?;
    let at = match request.cursor.as_str() {
        "" => None,
        text => Some(text.parse::<u64>().map_err(|_| {
            let message = "the cursor is not of an audit log";
            Refusal::new(ErrorCode::CursorInvalid, message)
        })?),
    };
    broker.meta().frontier().await?;
    let view = broker.meta().read(|reply| ReadRequest::Topic {
        project: system::META,
        topic: topic.clone(),
        reply,
    });
    let Some(view) = view.await? else {
        return Ok(ReadAuditResponse::default());
    };
    let limit = (request.limit as usize).clamp(1, AUDIT_PAGE_MAX);
    let ends = view.first_offset..view.next_offset;
    let wanted = match request.newest_first {
        true => {
            let end = at.unwrap_or(ends.end).clamp(ends.start, ends.end);
            end.saturating_sub(limit as u64).max(ends.start)..end
        }
        false => {
            let start = at.unwrap_or(ends.start).clamp(ends.start, ends.end);
            start..start.saturating_add(limit as u64).min(ends.end)
        }
    };
    let mut entries = read_entries(broker, &topic, wanted.clone()).await?;
    let next = match request.newest_first {
        true => {
            entries.reverse();
            (wanted.start > ends.start).then_some(wanted.start)
        }
        // One who has come to the end goes on there later.
        false => Some(wanted.end),
    };
    Ok(ReadAuditResponse {
        entries,
        next: next.map_or(String::new(), |offset| offset.to_string()),
    })
}

async fn read_entries(
    broker: &Broker,
    topic: &highwater_proto::names::TopicName,
    offsets: std::ops::Range<u64>,
) -> Result<Vec<AuditEntry>> {
    let mut entries = Vec::new();
    let mut offset = offsets.start;
    while offset < offsets.end {
        let limits = PageLimits {
            records: (offsets.end - offset) as usize,
            bytes: PAGE_BYTES_MAX,
        };
        let page = broker.meta().read(|reply| ReadRequest::ReadTopic {
            project: system::META,
            topic: topic.clone(),
            incarnation: None,
            offset,
            limits,
            reply,
        });
        let page = page.await?;
        for slice in &page.slices {
            let messages = &slice.segment.messages[slice.start..slice.end];
            for message in messages {
                entries.push(documents::audit_entry(message)?);
            }
        }
        // Entries that were dropped since the log was looked at are skipped.
        if page.next_offset <= offset {
            break;
        }
        offset = page.next_offset;
    }
    Ok(entries)
}
