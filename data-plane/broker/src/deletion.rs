//! Removes what deleted projects have left: their topics and sessions, and then the projects themselves from the
//! catalogue, and tenants whose projects are gone.
//!
//! Who deletes a project sets its state, at which nobody is let in any more. A node that has not heard of it yet may
//! take a last publish, so a project is forgotten only by a sweep that finds nothing; sweeps are further apart
//! than nodes are behind. One of the nodes sweeps: that two would, at a change of leaders, does no harm.

use futures_util::future::join_all;
use highwater_proto::{
    control::{AuditEntry, CommitRequest, Deleted, Document, document::Resource},
    ids::{AuditId, ProjectId, TenantId},
    limits::{DELETED_TOGETHER_MAX, PAGE_BYTES_MAX, PAGE_RECORDS_MAX, TOPICS_PAGE_MAX},
    names::{TopicFilter, TopicName},
};

use crate::{
    broker::Broker,
    catalogue::{Project, State, documents},
    handle::{PageLimits, ReadRequest, ShardHandle},
    refusal::Result,
    session::{self, SessionKey},
    system,
};

/// One sweep, at a time in milliseconds since the Unix epoch.
///
/// # Errors
/// Those of a read or a write. The next sweep goes on.
pub async fn sweep(broker: &Broker, now_ms: u64) -> Result<()> {
    let catalogue = broker.catalogue();
    let projects = catalogue.projects();
    for project in projects.filter(|project| project.state == State::Deleting) {
        if remove_topics(broker, project).await? || remove_sessions(broker, project.id).await? {
            continue;
        }
        let (tenant, id) = (project.tenant, project.id.to_string());
        // What it has used is still asked for.
        let remains = Deleted {
            tenant: tenant.to_string(),
            spread: project.shards.len() as u32,
        };
        let what = (&*id, remains, "project.deleted");
        forget(broker, tenant, what, now_ms).await?;
        tracing::info!(project = %project.id, "removed a project and what it had");
    }
    for tenant in catalogue.tenants().filter(|t| t.state == State::Deleting) {
        if !catalogue.projects().any(|p| p.tenant == tenant.id) {
            let id = tenant.id.to_string();
            let what = (&*id, Deleted::default(), "tenant.deleted");
            forget(broker, tenant.id, what, now_ms).await?;
            tracing::info!(tenant = %tenant.id, "removed a tenant");
        }
    }
    Ok(())
}

/// Removes a project's topics; says whether there were any.
async fn remove_topics(broker: &Broker, project: &Project) -> Result<bool> {
    let mut were_any = false;
    for shard in &project.shards {
        let shard = broker.shard(*shard)?;
        shard.frontier().await?;
        loop {
            let names = topics(shard, project.id).await?;
            if names.is_empty() {
                break;
            }
            were_any = true;
            remove(shard, project.id, names).await?;
        }
    }
    Ok(were_any)
}

async fn topics(shard: &ShardHandle, project: ProjectId) -> Result<Vec<TopicName>> {
    // The system's names have a filter of their own.
    let all = ["#", "$SYS/#"].map(|all| TopicFilter::try_from(all).expect("a filter of our own"));
    let list = |reply| ReadRequest::Topics {
        project,
        filters: all.to_vec().into(),
        after: None,
        limit: TOPICS_PAGE_MAX,
        reply,
    };
    let views = shard.read(list).await?;
    Ok(views.into_iter().map(|view| view.name).collect())
}

async fn remove(shard: &ShardHandle, project: ProjectId, names: Vec<TopicName>) -> Result<()> {
    for together in names.chunks(DELETED_TOGETHER_MAX) {
        let names = together.iter().cloned();
        let removed = names.map(|name| shard.delete_topic(project, name, None));
        for outcome in join_all(removed).await {
            outcome?;
        }
    }
    Ok(())
}

/// Removes a project's MQTT sessions; says whether there were any. Their names do not tell whose they are, so all
/// are looked at.
async fn remove_sessions(broker: &Broker, project: ProjectId) -> Result<bool> {
    let mut were_any = false;
    for shard in broker.shards() {
        let mut position = shard.frontier().await.map(|end| (0, end))?;
        loop {
            let read = |reply| ReadRequest::RetainedRecords {
                project: system::PROJECT,
                filters: vec![SessionKey::filter()].into(),
                positions: position,
                limits: PageLimits {
                    records: PAGE_RECORDS_MAX,
                    bytes: PAGE_BYTES_MAX,
                },
                reply,
            };
            let page = shard.read(read).await?;
            let mut names = Vec::new();
            for slice in &page.slices {
                for message in &slice.segment.messages[slice.start..slice.end] {
                    // One that cannot be read is whoever's: its owner finds it, or nobody.
                    let stored = session::decode(message).ok();
                    if stored.is_some_and(|session| session.project[..] == project.as_bytes()[..]) {
                        names.push(slice.segment.topic.name.clone());
                    }
                }
            }
            were_any |= !names.is_empty();
            remove(shard, system::PROJECT, names).await?;
            if page.at_end {
                break;
            }
            position.0 = page.next_position;
        }
    }
    Ok(were_any)
}

/// Takes a project or tenant out of the catalogue, if nobody writes there at the same time.
async fn forget(
    broker: &Broker,
    tenant: TenantId,
    (id, remains, action): (&str, Deleted, &str),
    now_ms: u64,
) -> Result<()> {
    let meta = broker.meta_project();
    let request = CommitRequest {
        if_version: broker.committed_catalogue_version().await?,
        documents: vec![Document {
            id: id.to_owned(),
            updated_at_ms: now_ms,
            resource: Some(Resource::Deleted(remains)),
            ..Document::default()
        }],
        audit: vec![AuditEntry {
            id: AuditId::generate().to_string(),
            tenant: tenant.to_string(),
            at_ms: now_ms,
            actor: "service".to_owned(),
            action: action.to_owned(),
            resource: id.to_owned(),
            ..AuditEntry::default()
        }],
    };
    let publishes = documents::commit(meta, request)?;
    broker.meta().append(publishes).await.map(drop)
}
