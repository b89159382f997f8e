//! `/v1/cluster`, `/v1/nodes` and `/v1/shards`. There are few of each, so their lists have one page.

use std::sync::Arc;

use axum::{Json, extract::State};
use highwater_proto::control;
use tracing::warn;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::shape::{Cluster, Node, Shard, topic_shards};
use crate::{
    admin::{Caller, Need},
    api::Api,
    http::{Asked, Page, ReadRefusals},
    refusal::{Reason, Result},
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(get))
        .routes(routes!(list_nodes))
        .routes(routes!(list_shards))
}

/// How many shards there are for topics.
///
/// # Errors
/// When no node answers.
pub async fn shards(api: &Api) -> Result<usize> {
    Ok(topic_shards(&ask(api).await?))
}

async fn ask(api: &Api) -> Result<control::Cluster> {
    api.nodes.cluster().await.map_err(|status| {
        warn!(reason = status.message(), "the cluster cannot be looked at");
        Reason::NoNode.into()
    })
}

async fn ask_for(api: &Api, caller: &Caller) -> Result<control::Cluster> {
    api.read(caller, Need::Operator, |_| Ok(()))?;
    ask(api).await
}

/// The cluster in short
///
/// For operators.
#[utoipa::path(get, operation_id = "get_cluster", path = "/v1/cluster", tag = "cluster",
    responses((status = 200, description = "As a node sees it", body = Cluster), ReadRefusals))]
async fn get(State(api): State<Arc<Api>>, Asked(caller): Asked) -> Result<Json<Cluster>> {
    let cluster = ask_for(&api, &caller).await?;
    Ok(Json(Cluster::of(&cluster, api.replica.progress().version)))
}

/// List the nodes
///
/// For operators.
#[utoipa::path(get, operation_id = "list_nodes", path = "/v1/nodes", tag = "cluster",
    responses((status = 200, description = "All of them, as one sees them", body = Page<Node>), ReadRefusals))]
async fn list_nodes(State(api): State<Arc<Api>>, Asked(caller): Asked) -> Result<Json<Page<Node>>> {
    let cluster = ask_for(&api, &caller).await?;
    Ok(Json(whole(cluster.nodes)))
}

/// List the shards
///
/// For operators.
#[utoipa::path(get, operation_id = "list_shards", path = "/v1/shards", tag = "cluster",
    responses((status = 200, description = "All of them, as one node sees them", body = Page<Shard>), ReadRefusals))]
async fn list_shards(
    State(api): State<Arc<Api>>,
    Asked(caller): Asked,
) -> Result<Json<Page<Shard>>> {
    let cluster = ask_for(&api, &caller).await?;
    Ok(Json(whole(cluster.shards)))
}

fn whole<S, T: From<S>>(items: Vec<S>) -> Page<T> {
    Page {
        items: items.into_iter().map(T::from).collect(),
        next: None,
    }
}
