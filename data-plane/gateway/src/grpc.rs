//! gRPC: the service of `highwater.client.v1`, health and reflection, also for browsers (gRPC-web).

mod call;
pub(crate) mod catalogue;
mod deadline;
mod incoming;
mod publish;
pub(crate) mod status;
mod subscribe;
mod until_draining;

use std::sync::Arc;

use axum::middleware::{from_fn, from_fn_with_state};
use futures_util::FutureExt;
use highwater_broker::{
    Refusal,
    catalogue::{Operation, Principal},
    from::From,
};
use highwater_proto::{
    ErrorCode,
    client::{
        self, GetTopicRequest, PublishRequest, PublishResult, PublishStreamRequest, ReadRequest,
        SubscribeRequest, Topic,
        server::highwater_server::{Highwater, HighwaterServer},
    },
    control::catalogue_server::CatalogueServer,
    frame::Frame,
    limits::{PUBLIC_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX},
    names::TopicName,
};
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_web::GrpcWebLayer;

use self::{status::to_status, until_draining::until_draining};
use crate::{
    deliver::proto,
    gateway::Door,
    metrics::Protocol,
    publish::publish_one,
    read::{self, PageRequest},
    serve::Connection,
    session::Session,
};

/// The routes of all gRPC services.
pub(crate) fn router(
    door: &Arc<Door>,
    health: &Health,
    cluster: &catalogue::ClusterView,
) -> axum::Router {
    let service = HighwaterServer::new(Service { door: door.clone() })
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Zstd)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(client::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflection()
        .build_v1()
        .expect("the descriptors are our own")
        .max_decoding_message_size(PUBLIC_REQUEST_BYTES_MAX);
    let reflection_v1alpha = reflection()
        .build_v1alpha()
        .expect("the descriptors are our own")
        .max_decoding_message_size(PUBLIC_REQUEST_BYTES_MAX);
    let health = HealthServer::new(HealthService::from_health_reporter(health.reporter.clone()))
        .max_decoding_message_size(PUBLIC_REQUEST_BYTES_MAX);
    let ours = tonic::service::Routes::new(service)
        .prepare()
        .into_axum_router()
        .layer(from_fn_with_state(door.clone(), call::authenticated));
    let catalogue = CatalogueServer::new(catalogue::Service {
        door: door.clone(),
        cluster: cluster.clone(),
    });
    let catalogue =
        tonic::service::Routes::new(catalogue.max_decoding_message_size(REQUEST_BYTES_MAX))
            .prepare()
            .into_axum_router()
            .layer(from_fn(until_draining))
            .layer(from_fn_with_state(door.clone(), catalogue::authenticated));
    let others = tonic::service::Routes::new(health)
        .add_service(reflection_v1)
        .add_service(reflection_v1alpha)
        .prepare()
        .into_axum_router()
        .layer(from_fn(until_draining));
    // Their fallbacks are all the same, and the gateway sets its own.
    ours.reset_fallback()
        .merge(others.reset_fallback())
        .merge(catalogue.reset_fallback())
        .layer(from_fn_with_state(door.clone(), call::bounded))
        .layer(GrpcWebLayer::new())
}

/// The answer to a call of a service that does not exist.
pub(crate) fn no_such_service() -> axum::response::Response {
    to_status(&status::unreadable(&Status::unimplemented(""))).into_http()
}

/// What the health service says.
#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
}

impl Health {
    pub(crate) fn new() -> Health {
        let health = Health {
            reporter: HealthReporter::new(),
        };
        // Nobody else holds the reporter yet, so there is nothing to wait for.
        let set = health.set_ready(true).now_or_never();
        debug_assert!(set.is_some(), "the first status is set at once");
        health
    }

    /// Tells all watchers whether requests are taken, of the server as a whole and of its service.
    pub(crate) async fn set_ready(&self, ready: bool) {
        use tonic_health::ServingStatus::{NotServing, Serving};
        let status = if ready { Serving } else { NotServing };
        for service in ["", "highwater.client.v1.Highwater"] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

struct Service {
    door: Arc<Door>,
}

impl Service {
    /// Counts a refusal and makes it a status.
    fn refuse(&self, refusal: Refusal) -> Status {
        self.door.metrics.refused(Protocol::Grpc, &refusal);
        to_status(&refusal)
    }
}

/// Who makes a call.
fn principal<T>(request: &Request<T>) -> Result<Principal, Status> {
    let unknown = || {
        let message = "the call was not authenticated";
        to_status(&Refusal::new(ErrorCode::Internal, message))
    };
    request.extensions().get().cloned().ok_or_else(unknown)
}

#[tonic::async_trait]
impl Highwater for Service {
    type PublishStreamStream = publish::Outcomes;
    type SubscribeStream = subscribe::Deliveries;

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResult>, Status> {
        let principal = principal(&request)?;
        let publish = publish_one(&self.door, Protocol::Grpc, &principal, request.into_inner());
        // The funnel has counted it.
        publish
            .await
            .map(Response::new)
            .map_err(|refusal| to_status(&refusal))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let outcomes = publish::open(self.door.clone(), request);
        outcomes
            .map(Response::new)
            .map_err(|refusal| self.refuse(refusal))
    }

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let deliveries = subscribe::open(self.door.clone(), request);
        deliveries
            .map(Response::new)
            .map_err(|refusal| self.refuse(refusal))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Frame>, Status> {
        let session = Session::open(&self.door, Protocol::Grpc, request.metadata().as_ref());
        let mut session = session.map_err(|refusal| self.refuse(refusal))?;
        let stop = Connection::of(request.extensions()).draining;
        let request = request.into_inner();
        let page = async {
            let request = PageRequest {
                filters: read::parse_filters(&request.topics)?,
                from: read::parse_from(&request.from, From::Earliest)?,
                limit: request.limit as usize,
                wait: std::time::Duration::from_millis(request.wait_ms),
            };
            read::read_page(&self.door, Protocol::Grpc, &mut session, request, &stop).await
        };
        let page = page.await.map_err(|refusal| self.refuse(refusal))?;
        let principal = session.principal();
        Ok(Response::new(page_frame(&self.door, principal, page)))
    }

    async fn get_topic(
        &self,
        request: Request<GetTopicRequest>,
    ) -> Result<Response<Topic>, Status> {
        let principal = principal(&request)?;
        let describe = async {
            let topic = TopicName::try_from(request.get_ref().topic.as_str())?;
            principal.require(Operation::Subscribe, &topic)?;
            let broker = &self.door.broker;
            let project = &principal.project;
            let view = broker.topic(project, &topic).await?;
            let shard = project.shard_of(&topic);
            Ok(Topic {
                topic: topic.to_string(),
                first_offset: view.first_offset,
                next_offset: view.next_offset,
                cursor: broker.topic_cursor(project, shard, view.id, view.next_offset),
                bytes: view.bytes,
            })
        };
        describe
            .await
            .map(Response::new)
            .map_err(|refusal| self.refuse(refusal))
    }
}

/// The response with a page: its records, already encoded, and the rest of the fields after them.
fn page_frame(door: &Door, principal: &Principal, page: read::Page) -> Frame {
    let mut gaps = page.gaps.iter().map(proto::gap_message);
    let rest = client::ReadResponse {
        records: Vec::new(),
        next: page.next.clone(),
        gap: gaps.next(),
        further_gaps: gaps.collect(),
    };
    let records = page
        .deliveries
        .iter()
        .flat_map(|delivery| proto::record_frames(&door.broker, &principal.project, delivery));
    let records = records.flat_map(|frame| frame.segments().to_vec());
    let rest = Frame::encode(&rest);
    Frame::new(records.chain(rest.segments().iter().cloned()).collect())
}
