//! `/v1/audit` and `…/audit` of a tenant.

use std::sync::Arc;

use axum::{Json, extract::State};
use highwater_proto::control::{ReadAuditRequest, Role};
use tracing::warn;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::shape::AuditEntry;
use crate::{
    admin::Need,
    api::Api,
    http::{InPath, Order, Page, Positions, ReadRefusals, Reading, TenantPath, seal},
    refusal::{Reason, Result},
};

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(of_tenant))
        .routes(routes!(of_platform))
}

/// Read the audit log of a tenant
#[utoipa::path(get, operation_id = "read_tenant_audit", path = "/v1/tenants/{tenant}/audit", tag = "audit", params(TenantPath, Positions),
    responses((status = 200, description = "A page of it, newest first unless `order` says otherwise", body = Page<AuditEntry>), ReadRefusals))]
async fn of_tenant(
    State(api): State<Arc<Api>>,
    InPath(at): InPath<TenantPath>,
    reading: Reading,
) -> Result<Json<Page<AuditEntry>>> {
    // Operators read the log of a tenant that is gone, too.
    let need = match reading.caller.principal.is_operator {
        true => Need::Operator,
        false => Need::Tenant(at.tenant.0, Role::Viewer),
    };
    api.read(&reading.caller, need, |_| Ok(()))?;
    read(&api, &at.tenant.0.to_string(), &reading).await
}

/// Read the audit log of what belongs to no tenant
///
/// For operators.
#[utoipa::path(get, operation_id = "read_platform_audit", path = "/v1/audit", tag = "audit", params(Positions),
    responses((status = 200, description = "A page of it, newest first unless `order` says otherwise", body = Page<AuditEntry>), ReadRefusals))]
async fn of_platform(
    State(api): State<Arc<Api>>,
    reading: Reading,
) -> Result<Json<Page<AuditEntry>>> {
    api.read(&reading.caller, Need::Operator, |_| Ok(()))?;
    read(&api, "", &reading).await
}

async fn read(api: &Api, tenant: &str, reading: &Reading) -> Result<Json<Page<AuditEntry>>> {
    let newest_first = reading.order == Order::Newest;
    let list = format!("audit of {tenant}, newest first: {newest_first}");
    let request = ReadAuditRequest {
        tenant: tenant.to_owned(),
        cursor: reading.position(api, &list)?,
        limit: reading.limit as u32,
        newest_first,
    };
    let page = api.nodes.read_audit(request).await.map_err(|status| {
        warn!(reason = status.message(), "an audit log cannot be read");
        Reason::NoNode.because("the audit log cannot be read at the moment")
    })?;
    // Read from its oldest entry on, a log has no end, only one that is the newest so far.
    let has_next = !page.next.is_empty() && !page.entries.is_empty();
    let next = has_next.then(|| seal(api, &list, &page.next));
    Ok(Json(Page {
        items: page.entries.into_iter().map(AuditEntry::from).collect(),
        next: next.transpose()?,
    }))
}
