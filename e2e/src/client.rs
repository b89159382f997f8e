//! A gRPC client of one node, and what tests say with it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use highwater_proto::client::{
    Gap, GetTopicRequest, Message, PublishRequest, PublishResult, PublishStreamRequest,
    ReadRequest, ReadResponse, Record, SubscribeRequest, SubscribeResponse, Topic,
    highwater_client::HighwaterClient,
    publish_outcome::Outcome,
    subscribe_request::{Flow, Request as SubscribeKind, Start},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::condition::within_deadline;

/// How long one attempt may take before another is made.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Adds the credential to every request.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Where the services of one node are.
pub struct Endpoints<'a> {
    /// `host:port`
    pub address: &'a str,
    /// The authority (PEM) of its certificate, if it has one.
    pub ca: Option<&'a str>,
}

impl Endpoints<'_> {
    /// A connection that is made when it is used, with this credential.
    ///
    /// # Panics
    /// When something of it cannot be.
    pub fn connect(&self, credential: &str) -> InterceptedService<Channel, Bearer> {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.address));
        let mut endpoint = endpoint.expect("an address");
        if let Some(ca) = self.ca {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            endpoint = endpoint.tls_config(tls).expect("a certificate");
        }
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(2))
            // A frozen node keeps its sockets: only silence gives it away.
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let bearer = Bearer(
            format!("Bearer {credential}")
                .parse()
                .expect("a credential"),
        );
        InterceptedService::new(endpoint.connect_lazy(), bearer)
    }
}

/// A connection to one node that is made when it is used, and made again when it breaks.
#[derive(Clone)]
pub struct Client {
    grpc: HighwaterClient<InterceptedService<Channel, Bearer>>,
    address: Arc<str>,
}

impl Client {
    /// A client of the node at `host:port` with this key.
    ///
    /// # Panics
    /// When the address or the key cannot be one.
    pub fn new(address: &str, key: &str) -> Client {
        Client::of(&Endpoints { address, ca: None }, key)
    }

    /// The same over TLS, of a node whose certificate this authority (PEM) issued.
    ///
    /// # Panics
    /// When the address, the key or the authority cannot be one.
    pub fn with_tls(address: &str, key: &str, ca: &str) -> Client {
        let ca = Some(ca);
        Client::of(&Endpoints { address, ca }, key)
    }

    fn of(endpoints: &Endpoints<'_>, key: &str) -> Client {
        let grpc = HighwaterClient::new(endpoints.connect(key));
        Client {
            grpc: grpc.max_decoding_message_size(16 << 20),
            address: endpoints.address.into(),
        }
    }

    /// The node's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The stub, for requests that have no method here.
    pub fn grpc(&self) -> HighwaterClient<InterceptedService<Channel, Bearer>> {
        self.grpc.clone()
    }

    /// Publishes once.
    ///
    /// # Errors
    /// As the server says.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
    ) -> Result<PublishResult, Status> {
        self.publish_request(request(topic, payload, "")).await
    }

    /// Publishes once, as the request says.
    ///
    /// # Errors
    /// As the server says, or `DEADLINE_EXCEEDED` after a while.
    pub async fn publish_request(&self, request: PublishRequest) -> Result<PublishResult, Status> {
        let mut request = Request::new(request);
        request.set_timeout(ATTEMPT_TIMEOUT);
        let mut grpc = self.grpc.clone();
        let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, grpc.publish(request)).await;
        answer
            .map_err(|_| Status::deadline_exceeded("no answer"))?
            .map(|response| response.into_inner())
    }

    /// Publishes `prefix#0`, `prefix#1` and so on over one stream, `batch` messages a frame.
    ///
    /// # Errors
    /// When one of them is refused.
    pub async fn publish_stream(
        &self,
        topic: &str,
        prefix: &str,
        count: usize,
        batch: usize,
    ) -> Result<Vec<PublishResult>> {
        let publish = |number| request(topic, format!("{prefix}#{number}"), "");
        self.publish_requests((0..count).map(publish), batch).await
    }

    /// Publishes the same payload many times over one stream, `batch` messages a frame.
    ///
    /// # Errors
    /// When one of them is refused.
    pub async fn publish_stream_of(
        &self,
        topic: &str,
        payload: &str,
        count: usize,
        batch: usize,
    ) -> Result<Vec<PublishResult>> {
        let payload = Bytes::from(payload.to_owned());
        let publish = |_| request(topic, payload.clone(), "");
        self.publish_requests((0..count).map(publish), batch).await
    }

    /// Publishes all of these over one stream, `batch` messages a frame.
    ///
    /// # Errors
    /// When one of them is refused.
    pub async fn publish_requests(
        &self,
        publishes: impl ExactSizeIterator<Item = PublishRequest>,
        batch: usize,
    ) -> Result<Vec<PublishResult>> {
        let count = publishes.len();
        let mut publishes = publishes.peekable();
        let (requests, outgoing) = mpsc::channel(2);
        let mut grpc = self.grpc.clone();
        let send = async {
            while publishes.peek().is_some() {
                let publishes = publishes.by_ref().take(batch).collect();
                // The receiver goes away only with the call, whose error says why.
                if requests
                    .send(PublishStreamRequest { publishes })
                    .await
                    .is_err()
                {
                    break;
                }
            }
            drop(requests);
        };
        let receive = async {
            let outgoing = ReceiverStream::new(outgoing);
            let mut responses = grpc.publish_stream(outgoing).await?.into_inner();
            let mut results = Vec::with_capacity(count);
            while let Some(response) = responses.message().await? {
                for outcome in response.outcomes {
                    match outcome.outcome.context("an outcome says something")? {
                        Outcome::Result(result) => results.push(result),
                        Outcome::Error(error) => bail!("refused: {error:?}"),
                    }
                }
            }
            anyhow::ensure!(results.len() == count, "{} outcomes", results.len());
            Ok(results)
        };
        tokio::join!(send, receive).1
    }

    /// Reads one page.
    ///
    /// # Errors
    /// As the server says, or `DEADLINE_EXCEEDED` after a while.
    pub async fn read(&self, topic: &str, from: &str, limit: u32) -> Result<ReadResponse, Status> {
        let request = ReadRequest {
            topics: vec![topic.to_owned()],
            from: from.to_owned(),
            limit,
            wait_ms: 0,
        };
        let mut grpc = self.grpc.clone();
        let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, grpc.read(request)).await;
        answer
            .map_err(|_| Status::deadline_exceeded("no answer"))?
            .map(|response| response.into_inner())
    }

    /// Reads everything there is after `from`, page by page, with the gaps that were told.
    ///
    /// # Errors
    /// The first refusal that is not worth a retry, or too many of those that are.
    pub async fn read_all(&self, topic: &str, from: &str) -> Result<(Vec<Record>, Vec<Gap>)> {
        let (mut records, mut gaps) = (Vec::new(), Vec::new());
        let mut from = from.to_owned();
        loop {
            let page = retry(&format!("reading {topic}"), async || {
                self.read(topic, &from, 0).await
            })
            .await?;
            gaps.extend(page.gap);
            gaps.extend(page.further_gaps);
            if page.records.is_empty() && from == format!("cursor:{}", page.next) {
                return Ok((records, gaps));
            }
            records.extend(page.records);
            from = format!("cursor:{}", page.next);
        }
    }

    /// Describes a topic.
    ///
    /// # Errors
    /// As the server says.
    pub async fn topic(&self, topic: &str) -> Result<Topic, Status> {
        let topic = topic.to_owned();
        let mut grpc = self.grpc.clone();
        let response = grpc.get_topic(GetTopicRequest { topic }).await?;
        Ok(response.into_inner())
    }

    /// Subscribes without limits and waits for the receipt.
    ///
    /// # Errors
    /// When the subscription is refused or never confirmed.
    pub async fn subscribe(&self, topics: &[&str], from: &str) -> Result<Subscription> {
        self.subscribe_with_credit(topics, from, None).await
    }

    /// Subscribes with so much credit and waits for the receipt.
    ///
    /// # Errors
    /// When the subscription is refused or never confirmed.
    pub async fn subscribe_with_credit(
        &self,
        topics: &[&str],
        from: &str,
        credit: Option<Flow>,
    ) -> Result<Subscription> {
        let (requests, outgoing) = mpsc::channel(16);
        let start = Start {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            from: from.to_owned(),
            credit,
            group: String::new(),
        };
        let request = SubscribeRequest {
            request: Some(SubscribeKind::Start(start)),
        };
        requests.send(request).await?;
        let mut grpc = self.grpc.clone();
        let attempt = async {
            let outgoing = ReceiverStream::new(outgoing);
            let mut responses = grpc.subscribe(outgoing).await?.into_inner();
            let first = responses.message().await?;
            Ok::<_, Status>((responses, first))
        };
        let (responses, first) = tokio::time::timeout(ATTEMPT_TIMEOUT, attempt)
            .await
            .context("no receipt of the subscription")??;
        let receipt = first.and_then(|first| first.subscribed);
        Ok(Subscription {
            requests,
            responses,
            cursor: receipt
                .context("the first response is not the receipt")?
                .cursor,
        })
    }
}

/// A subscription that has its receipt.
pub struct Subscription {
    requests: mpsc::Sender<SubscribeRequest>,
    responses: Streaming<SubscribeResponse>,
    /// The cursor of the receipt, or of the last record since.
    pub cursor: String,
}

impl Subscription {
    /// Waits until the server ends it, and says why it did.
    ///
    /// # Panics
    /// When it does not.
    pub async fn end(mut self) -> Code {
        loop {
            let next = within_deadline("the subscription is closed", self.next()).await;
            if let Err(error) = next {
                let status = error.downcast_ref::<Status>();
                return status.map_or(Code::Ok, Status::code);
            }
        }
    }

    /// The next response.
    ///
    /// # Errors
    /// When the stream ends.
    pub async fn next(&mut self) -> Result<SubscribeResponse> {
        let response = self.responses.message().await?;
        let response = response.ok_or_else(|| anyhow!("the subscription ended"))?;
        if let Some(last) = response.records.last() {
            self.cursor.clone_from(&last.cursor);
        }
        Ok(response)
    }

    /// The next records, so many at least. Gaps are errors.
    ///
    /// # Errors
    /// When the stream ends or tells of a gap.
    pub async fn records(&mut self, count: usize) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        while records.len() < count {
            let response = self.next().await?;
            if let Some(gap) = response.gap {
                bail!("a gap after {} records: {gap:?}", records.len());
            }
            records.extend(response.records);
        }
        Ok(records)
    }

    /// Adds credit.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn add_credit(&self, messages: u64, bytes: u64) -> Result<()> {
        let flow = SubscribeKind::Flow(Flow { messages, bytes });
        let request = SubscribeRequest {
            request: Some(flow),
        };
        Ok(self.requests.send(request).await?)
    }
}

/// A publish of a payload, with an idempotency key unless it is empty.
pub fn request(topic: &str, payload: impl Into<Bytes>, idempotency_key: &str) -> PublishRequest {
    PublishRequest {
        topic: topic.to_owned(),
        message: Some(Message {
            payload: payload.into(),
            content_type: "text/plain".to_owned(),
            ..Message::default()
        }),
        idempotency_key: idempotency_key.to_owned(),
        if_cursor: String::new(),
    }
}

/// Whether the same request may succeed later.
pub fn is_retryable(status: &Status) -> bool {
    // Unknown and Internal are what tonic makes of a connection that broke under a request.
    matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// Asks again while the answer is worth a retry, for as long as anything may take.
///
/// # Errors
/// The first refusal that is not worth a retry.
///
/// # Panics
/// After the deadline.
pub async fn retry<T>(what: &str, attempt: impl AsyncFn() -> Result<T, Status>) -> Result<T> {
    let mut last = None;
    let outcome = crate::eventually_some(what, async || match attempt().await {
        Err(status) if is_retryable(&status) => {
            last = Some(status);
            None
        }
        outcome => Some(outcome),
    });
    outcome.await.with_context(|| what.to_owned())
}
