//! The nodes of the cluster, as a control plane calls them: any one does, and when it does not answer, the next.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use highwater_credentials::ServiceCredential;
use highwater_proto::{
    control::{
        Cluster, CommitRequest, GetClusterRequest, ReadAuditRequest, ReadAuditResponse,
        ReadUsageRequest, ReadUsageResponse, WatchRequest, WatchResponse,
        catalogue_client::CatalogueClient,
    },
    limits::CATALOGUE_RESPONSE_BYTES_MAX,
};
use tokio::time::timeout;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// Time for one call to be answered.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence after which a connection is asked whether it is still there, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(3);

type Client = CatalogueClient<InterceptedService<Channel, Credential>>;

/// All configured nodes.
#[derive(Debug)]
pub struct Nodes {
    clients: Vec<Client>,
    /// Where calls go first: to the one that answered last.
    preferred: AtomicUsize,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The catalogue has it, and is at this version with it.
    Committed(u64),
    /// The catalogue is at another version than the one it was decided with.
    Moved,
    /// It was not made, for this reason.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// Adds the cluster's service credential to each call.
#[derive(Debug, Clone)]
struct Credential(MetadataValue<Ascii>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let credential = self.0.clone();
        request.metadata_mut().insert("authorization", credential);
        Ok(request)
    }
}

impl Nodes {
    /// Nodes at these addresses (`http://host:port`, or `https` with the authorities of their certificates).
    /// Connections come about with the first call.
    ///
    /// # Errors
    /// Which address cannot be used.
    pub fn new(
        addresses: &[String],
        authorities: Option<&[u8]>,
        credential: &ServiceCredential,
    ) -> anyhow::Result<Nodes> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", credential.expose()).parse()?;
        value.set_sensitive(true);
        let credential = Credential(value);
        let client = |address: &String| {
            let mut endpoint = Endpoint::from_shared(address.clone())?
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true);
            if address.starts_with("https://") {
                let tls = ClientTlsConfig::new();
                endpoint = endpoint.tls_config(match authorities {
                    Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
                    None => tls.with_native_roots(),
                })?;
            }
            let client =
                CatalogueClient::with_interceptor(endpoint.connect_lazy(), credential.clone());
            anyhow::Ok(client.max_decoding_message_size(CATALOGUE_RESPONSE_BYTES_MAX))
        };
        let clients = addresses
            .iter()
            .map(client)
            .collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!clients.is_empty(), "there is no node to call");
        Ok(Nodes {
            clients,
            preferred: AtomicUsize::new(0),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// The preferred one, by its place among them.
    pub fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed) % self.clients.len()
    }

    /// Prefers the one after this one, unless another is preferred already.
    pub fn leave(&self, node: usize) {
        let next = (node + 1) % self.clients.len();
        let order = Ordering::Relaxed;
        // Whoever was faster has left it already.
        let _ = self.preferred.compare_exchange(node, next, order, order);
    }

    fn client(&self, node: usize) -> Client {
        self.clients[node % self.clients.len()].clone()
    }

    /// Follows one node's replica of the catalogue.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn watch(
        &self,
        node: usize,
        from_version: u64,
    ) -> Result<Streaming<WatchResponse>, Status> {
        let mut client = self.client(node);
        let opened = timeout(CALL_TIMEOUT, client.watch(WatchRequest { from_version })).await;
        Ok(opened.map_err(too_late)??.into_inner())
    }

    /// Asks the preferred node for a commit.
    pub async fn commit(&self, request: CommitRequest) -> Outcome {
        let node = self.preferred();
        let mut client = self.client(node);
        let status = match timeout(CALL_TIMEOUT, client.commit(request)).await {
            Ok(Ok(response)) => return Outcome::Committed(response.into_inner().version),
            Ok(Err(status)) => status,
            Err(late) => too_late(late),
        };
        match status.code() {
            Code::FailedPrecondition => Outcome::Moved,
            Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Unimplemented
            | Code::OutOfRange => {
                Outcome::Refused(format!("{:?}: {}", status.code(), status.message()))
            }
            _ => {
                self.leave(node);
                Outcome::Unknown(status.message().to_owned())
            }
        }
    }

    /// A page of an audit log, from any node.
    ///
    /// # Errors
    /// The last node's, when none answers; or that of the first that refuses.
    pub async fn read_audit(&self, request: ReadAuditRequest) -> Result<ReadAuditResponse, Status> {
        let call = |mut client: Client| {
            let request = request.clone();
            async move { client.read_audit(request).await }
        };
        self.ask(call).await
    }

    /// What a project has used, from any node.
    ///
    /// # Errors
    /// Those of [`Nodes::read_audit`].
    pub async fn read_usage(&self, request: ReadUsageRequest) -> Result<ReadUsageResponse, Status> {
        let call = |mut client: Client| {
            let request = request.clone();
            async move { client.read_usage(request).await }
        };
        self.ask(call).await
    }

    /// The cluster, as the first node that answers sees it.
    ///
    /// # Errors
    /// The last node's, when none answers; or that of the first that refuses.
    pub async fn cluster(&self) -> Result<Cluster, Status> {
        let call =
            |mut client: Client| async move { client.get_cluster(GetClusterRequest {}).await };
        self.ask(call).await
    }

    async fn ask<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut last = Status::unavailable("there is no node to ask");
        for _ in 0..self.count() {
            let node = self.preferred();
            let answered = timeout(CALL_TIMEOUT, call(self.client(node))).await;
            match answered.unwrap_or_else(|late| Err(too_late(late))) {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if is_of_the_node(status.code()) => {
                    self.leave(node);
                    last = status;
                }
                Err(status) => return Err(status),
            }
        }
        Err(last)
    }
}

/// Whether another node may answer what this one did not.
fn is_of_the_node(code: Code) -> bool {
    use Code::{Aborted, Cancelled, DeadlineExceeded, Internal, Unavailable, Unknown};
    matches!(
        code,
        Aborted | Cancelled | DeadlineExceeded | Internal | Unavailable | Unknown
    )
}

fn too_late(_: tokio::time::error::Elapsed) -> Status {
    Status::deadline_exceeded("the node did not answer in time")
}
