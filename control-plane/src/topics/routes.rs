//! `…/topic-policies` of a project.

use std::sync::Arc;

use axum::extract::State;
use highwater_proto::control::Role;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{rules, shape::TopicPolicies};
use crate::{
    admin::Need,
    api::Api,
    http::{
        Asked, IfMatch, InPath, Precondition, ProjectPath, ReadRefusals, Submitted, WriteRefusals,
    },
    projects,
    refusal::Result,
    write::Answer,
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get, set))
}

/// How the topics of a project are kept
#[utoipa::path(get, operation_id = "get_topic_policies", path = "/v1/tenants/{tenant}/projects/{project}/topic-policies", tag = "topics",
    params(ProjectPath),
    responses((status = 200, description = "In their order", body = TopicPolicies), ReadRefusals))]
async fn get(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    Asked(caller): Asked,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Viewer);
    api.read(&caller, need, |now| {
        let project = projects::find(now, (at.tenant.0, at.project.0))?;
        Ok(Answer::of(
            project.version,
            &TopicPolicies::of(&project.value.policies),
        ))
    })
}

/// Set how the topics of a project are kept
///
/// Replaces all policies. The first whose filter matches a topic decides how it is kept.
#[utoipa::path(put, operation_id = "set_topic_policies", path = "/v1/tenants/{tenant}/projects/{project}/topic-policies", tag = "topics",
    params(ProjectPath, Precondition),
    request_body = TopicPolicies,
    responses((status = 200, description = "As they are now", body = TopicPolicies), WriteRefusals))]
async fn set(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<ProjectPath>,
    if_match: IfMatch,
    Submitted { caller, body, .. }: Submitted<TopicPolicies>,
) -> Result<Answer> {
    let need = Need::Tenant(at.tenant.0, Role::Editor);
    let write = api.writer.write(&caller, need, None, |now| {
        rules::set(now, (at.tenant.0, at.project.0), &if_match, &body)
    });
    write.await
}
