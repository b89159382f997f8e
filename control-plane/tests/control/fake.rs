//! A node's catalogue in memory, behind real gRPC: what a control plane is tested with.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use futures_util::{Stream, StreamExt};
use highwater_credentials::ServiceCredential;
use highwater_proto::control::{
    self as proto, AuditEntry, CommitRequest, CommitResponse, Document, GetClusterRequest, Hour,
    ReadAuditRequest, ReadAuditResponse, ReadUsageRequest, ReadUsageResponse, WatchRequest,
    WatchResponse,
    catalogue_server::{Catalogue, CatalogueServer},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::WatchStream;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// What all nodes of a cluster have in common.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
    credential: ServiceCredential,
    /// Commits that are still to be answered with `unavailable` though they are made.
    pub lose_answers: Arc<AtomicU32>,
    /// Commits that are still to be answered with `unavailable` and are not made.
    pub lose_commits: Arc<AtomicU32>,
    /// Whether nothing is answered at all.
    pub is_down: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// Each document as it was written, in the order of versions.
    log: Vec<Document>,
    audit: Vec<AuditEntry>,
    usage: HashMap<String, Vec<Hour>>,
    key_uses: Vec<proto::KeyUse>,
}

impl Cluster {
    pub fn new(secret: &[u8]) -> Cluster {
        Cluster {
            state: Arc::default(),
            version: watch::Sender::new(0),
            credential: ServiceCredential::new(secret),
            lose_answers: Arc::default(),
            lose_commits: Arc::default(),
            is_down: Arc::default(),
        }
    }

    /// Another node of it, and its address.
    pub async fn node(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(CatalogueServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        format!("http://{address}")
    }

    /// Everything is gone, as in a cluster that is made anew, and those who watch are sent away.
    pub fn forget(&self) {
        *self.state.lock() = State::default();
        self.version.send_replace(0);
    }

    /// Every version of every document.
    pub fn log(&self) -> Vec<Document> {
        self.state.lock().log.clone()
    }

    /// Everything that the audit logs say.
    pub fn audit(&self) -> Vec<AuditEntry> {
        self.state.lock().audit.clone()
    }

    /// A project has used this.
    pub fn set_usage(&self, project: &str, hours: Vec<Hour>) {
        self.state.lock().usage.insert(project.to_owned(), hours);
    }

    /// A key was used.
    pub fn use_key(&self, key: &str, used_ms: u64) {
        self.state.lock().key_uses.push(proto::KeyUse {
            key: key.to_owned(),
            used_ms,
        });
    }

    /// The data plane has removed a project.
    pub fn remove_project(&self, tenant: &str, project: &str) {
        let remains = proto::Deleted {
            tenant: tenant.to_owned(),
            spread: 1,
        };
        let document = Document {
            id: project.to_owned(),
            resource: Some(proto::document::Resource::Deleted(remains)),
            ..Document::default()
        };
        let version = *self.version.borrow();
        self.append(version, vec![document], Vec::new()).unwrap();
    }

    fn append(
        &self,
        if_version: u64,
        documents: Vec<Document>,
        audit: Vec<AuditEntry>,
    ) -> Result<u64, Status> {
        let mut state = self.state.lock();
        if documents.is_empty() {
            state.audit.extend(audit);
            return Ok(if_version);
        }
        if state.log.len() as u64 != if_version {
            return Err(Status::failed_precondition("the catalogue has moved"));
        }
        let last = documents.len().saturating_sub(1);
        for (index, mut document) in documents.into_iter().enumerate() {
            document.version = if_version + index as u64 + 1;
            document.ends_commit = index == last;
            state.log.push(document);
        }
        state.audit.extend(audit);
        let version = state.log.len() as u64;
        self.version.send_replace(version);
        Ok(version)
    }

    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("down"));
        }
        let header = request.metadata().get("authorization");
        let text = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match text.is_some_and(|text| self.credential.is(text)) {
            true => Ok(()),
            false => Err(Status::unauthenticated("not the service")),
        }
    }
}

fn take(counter: &AtomicU32) -> bool {
    let order = Ordering::SeqCst;
    counter
        .fetch_update(order, order, |left| left.checked_sub(1))
        .is_ok()
}

#[tonic::async_trait]
impl Catalogue for Cluster {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.check(&request)?;
        let mut from = request.into_inner().from_version;
        if from > *self.version.borrow() {
            return Err(Status::invalid_argument("there is no such version"));
        }
        let (state, is_down) = (self.state.clone(), self.is_down.clone());
        let changes = WatchStream::new(self.version.subscribe()).map(move |_| {
            if is_down.load(Ordering::SeqCst) {
                return Err(Status::unavailable("down"));
            }
            let state = state.lock();
            let documents = state.log.get(from as usize..).map(<[_]>::to_vec);
            let documents = documents.ok_or(Status::unavailable("made anew"))?;
            from = state.log.len() as u64;
            Ok(WatchResponse {
                documents,
                version: from,
                is_current: true,
            })
        });
        Ok(Response::new(Box::pin(changes)))
    }

    async fn commit(
        &self,
        request: Request<CommitRequest>,
    ) -> Result<Response<CommitResponse>, Status> {
        self.check(&request)?;
        if take(&self.lose_commits) {
            return Err(Status::unavailable("no quorum"));
        }
        let CommitRequest {
            if_version,
            documents,
            audit,
        } = request.into_inner();
        let version = self.append(if_version, documents, audit)?;
        match take(&self.lose_answers) {
            true => Err(Status::unavailable("the leader has changed")),
            false => Ok(Response::new(CommitResponse { version })),
        }
    }

    async fn read_usage(
        &self,
        request: Request<ReadUsageRequest>,
    ) -> Result<Response<ReadUsageResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let state = self.state.lock();
        let hours = state.usage.get(&request.project).cloned();
        Ok(Response::new(ReadUsageResponse {
            hours: hours.unwrap_or_default(),
            keys: state.key_uses.clone(),
        }))
    }

    async fn read_audit(
        &self,
        request: Request<ReadAuditRequest>,
    ) -> Result<Response<ReadAuditResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let state = self.state.lock();
        let mut entries: Vec<_> = state
            .audit
            .iter()
            .filter(|e| e.tenant == request.tenant)
            .cloned()
            .collect();
        if request.newest_first {
            entries.reverse();
        }
        let skip: usize = request.cursor.parse().unwrap_or(0);
        let end = skip + request.limit as usize;
        let next = if end < entries.len() {
            end.to_string()
        } else {
            String::new()
        };
        let entries = entries
            .into_iter()
            .skip(skip)
            .take(request.limit as usize)
            .collect();
        Ok(Response::new(ReadAuditResponse { entries, next }))
    }

    async fn get_cluster(
        &self,
        request: Request<GetClusterRequest>,
    ) -> Result<Response<proto::Cluster>, Status> {
        self.check(&request)?;
        let shard = |id| proto::Shard {
            id,
            is_meta: id == 0,
            leader: 1,
            ..proto::Shard::default()
        };
        Ok(Response::new(proto::Cluster {
            name: "test".into(),
            nodes: vec![proto::Node {
                id: 1,
                is_up: true,
                leads: 5,
            }],
            shards: (0..5).map(shard).collect(),
        }))
    }
}
