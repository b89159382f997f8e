//! `…/usage` of a tenant and of a project.

use std::{collections::HashMap, ops::Range, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{
        HeaderMap,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use highwater_proto::{
    control::{Hour, ReadUsageRequest, ReadUsageResponse, Role},
    ids::{KeyId, ProjectId},
    limits::USAGE_READS_MAX,
};
use tracing::warn;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    csv,
    shape::{Asked, HOUR_MS, Period, Usage},
    sum::sum,
};
use crate::{
    admin::Need,
    api::Api,
    http::{InPath, ProjectPath, Queried, ReadRefusals, TenantPath},
    projects,
    refusal::{Reason, Result},
    tenants,
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(of_project))
        .routes(routes!(of_tenant))
}

/// What a project has used
///
/// By the hour or by the day, for four hundred days. A message is counted when it is in the log, once; what was delivered
/// and how long connections were open is there after some seconds. With `Accept: text/csv` it is a table.
#[utoipa::path(get, operation_id = "get_project_usage", path = "/v1/tenants/{tenant}/projects/{project}/usage", tag = "usage", params(ProjectPath, Asked),
    responses((status = 200, description = "It, one item for each hour or day", content((Usage = "application/json"), (String = "text/csv"))), ReadRefusals))]
async fn of_project(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Queried { caller, query }: Queried<Asked>,
    headers: HeaderMap,
) -> Result<Response> {
    let (tenant, project) = (at.tenant.0, at.project.0);
    let need = Need::Tenant(tenant, Role::Viewer);
    let (period, spread) = api.read(&caller, need, |now| {
        let found = projects::find(now, (tenant, project))?;
        Ok((query.period(now.ms)?, found.value.spread))
    })?;
    show(&api, period, vec![(project, spread)], &headers).await
}

/// What a tenant has used
///
/// All its projects together, those included that were deleted since.
#[utoipa::path(get, operation_id = "get_tenant_usage", path = "/v1/tenants/{tenant}/usage", tag = "usage", params(TenantPath, Asked),
    responses((status = 200, description = "It, one item for each hour or day", content((Usage = "application/json"), (String = "text/csv"))), ReadRefusals))]
async fn of_tenant(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    Queried { caller, query }: Queried<Asked>,
    headers: HeaderMap,
) -> Result<Response> {
    let tenant = at.tenant.0;
    let need = Need::Tenant(tenant, Role::Viewer);
    let (period, projects) = api.read(&caller, need, |now| {
        tenants::find(now, tenant)?;
        let there = now.catalogue.projects.of(tenant);
        let there = there.map(|(id, project)| (id, project.value.spread));
        let gone = now.catalogue.gone_projects(tenant);
        Ok((query.period(now.ms)?, there.chain(gone).collect()))
    })?;
    show(&api, period, projects, &headers).await
}

async fn show(
    api: &Api,
    period: Period,
    projects: Vec<(ProjectId, u32)>,
    headers: &HeaderMap,
) -> Result<Response> {
    let read = stream::iter(projects)
        .map(|(project, spread)| read(api, period, project, spread))
        .buffer_unordered(USAGE_READS_MAX);
    let usage = sum(period, &read.try_collect::<Vec<_>>().await?);
    if !wants_csv(headers) {
        return Ok(Json(usage).into_response());
    }
    let kind = "text/csv; charset=utf-8; header=present";
    Ok(([(CONTENT_TYPE, kind)], csv::write(&usage)).into_response())
}

async fn read(api: &Api, period: Period, project: ProjectId, spread: u32) -> Result<Vec<Hour>> {
    let hours = period.from_hour..period.to_hour;
    let read = ask(api, project, spread, hours).await;
    let refusal = Reason::NoNode.because("the usage cannot be read at the moment");
    Ok(read.ok_or(refusal)?.hours)
}

/// When each key of a project was last used, in milliseconds since the Unix epoch. Nothing, when no node says it.
pub async fn key_uses(
    api: &Api,
    project: ProjectId,
    spread: u32,
    now_ms: u64,
) -> HashMap<KeyId, u64> {
    let now = now_ms / HOUR_MS;
    let known = ask(api, project, spread, now..now + 1).await;
    let keys = known.into_iter().flat_map(|usage| usage.keys);
    keys.filter_map(|used| Some((used.key.parse().ok()?, used.used_ms)))
        .collect()
}

async fn ask(
    api: &Api,
    project: ProjectId,
    spread: u32,
    hours: Range<u64>,
) -> Option<ReadUsageResponse> {
    let request = ReadUsageRequest {
        project: project.to_string(),
        spread,
        from_hour: hours.start,
        to_hour: hours.end,
    };
    let read = api.nodes.read_usage(request).await;
    read.inspect_err(|status| warn!(reason = status.message(), %project, "usage cannot be read"))
        .ok()
}

/// Whether a table is what the client asks for first.
fn wants_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let first = accept.and_then(|accept| accept.split([',', ';']).next());
    first.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"))
}
