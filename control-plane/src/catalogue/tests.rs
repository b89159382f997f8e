//! Documents are found by what they belong to and by name, and nothing else is.

use highwater_proto::{
    control::{Deleted, State},
    ids::AdministratorId,
};

use super::*;

fn document(id: impl ToString, version: u64, resource: Resource) -> Document {
    Document {
        id: id.to_string(),
        version,
        updated_at_ms: version,
        resource: Some(resource),
        ..Document::default()
    }
}

fn project(tenant: TenantId, name: &str, state: State) -> Resource {
    Resource::Project(Project {
        tenant: tenant.to_string(),
        name: name.into(),
        state: state.into(),
        ..Project::default()
    })
}

fn member(tenant: TenantId, subject: &str, role: Role) -> Resource {
    Resource::Member(Member {
        tenant: tenant.to_string(),
        subject: subject.into(),
        role: role.into(),
    })
}

#[test]
fn a_project_is_found_in_its_own_tenant_only() {
    let (mine, other) = (TenantId::generate(), TenantId::generate());
    let id = ProjectId::generate();
    let mut catalogue = Catalogue::default();
    catalogue.apply(vec![document(id, 1, project(mine, "a", State::Active))], 1);
    assert!(catalogue.project(mine, id).is_some());
    assert!(catalogue.project(other, id).is_none());
    assert_eq!(catalogue.projects.named(mine, "a").unwrap().0, id);
    assert!(catalogue.projects.named(other, "a").is_none());
    assert_eq!(catalogue.projects.count_of(mine), 1);
}

#[test]
fn a_name_is_free_once_its_project_is_being_deleted() {
    let tenant = TenantId::generate();
    let (old, new) = (ProjectId::generate(), ProjectId::generate());
    let mut catalogue = Catalogue::default();
    catalogue.apply(
        vec![document(old, 1, project(tenant, "a", State::Active))],
        1,
    );
    catalogue.apply(
        vec![document(old, 2, project(tenant, "a", State::Deleting))],
        2,
    );
    assert!(catalogue.projects.named(tenant, "a").is_none());
    catalogue.apply(
        vec![document(new, 3, project(tenant, "a", State::Active))],
        3,
    );
    // The old one goes for good, and leaves the name to the new one.
    catalogue.apply(
        vec![document(old, 4, Resource::Deleted(Deleted::default()))],
        4,
    );
    assert_eq!(catalogue.projects.named(tenant, "a").unwrap().0, new);
    assert_eq!(catalogue.projects.of(tenant).count(), 1);
}

#[test]
fn a_list_goes_on_behind_an_id_that_is_gone() {
    let tenant = TenantId::generate();
    let mut ids: Vec<ProjectId> = (0..5).map(|_| ProjectId::generate()).collect();
    ids.sort();
    let mut catalogue = Catalogue::default();
    for (index, id) in ids.iter().enumerate() {
        let resource = project(tenant, &index.to_string(), State::Active);
        catalogue.apply(
            vec![document(id, index as u64 + 1, resource)],
            index as u64 + 1,
        );
    }
    catalogue.apply(
        vec![document(ids[1], 6, Resource::Deleted(Deleted::default()))],
        6,
    );
    let rest: Vec<_> = catalogue
        .projects
        .of_after(tenant, Some(ids[1]))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(rest, ids[2..]);
}

#[test]
fn a_role_ends_with_its_member() {
    let tenant = TenantId::generate();
    let id = AdministratorId::generate();
    let mut catalogue = Catalogue::default();
    catalogue.apply(
        vec![document(id, 1, member(tenant, "ann", Role::Editor))],
        1,
    );
    assert_eq!(catalogue.role(tenant, "ann"), Some(Role::Editor));
    assert_eq!(catalogue.tenants_of("ann").collect::<Vec<_>>(), [tenant]);
    assert_eq!(catalogue.role(TenantId::generate(), "ann"), None);
    catalogue.apply(
        vec![document(id, 2, Resource::Deleted(Deleted::default()))],
        2,
    );
    assert_eq!(catalogue.role(tenant, "ann"), None);
    assert_eq!(catalogue.tenants_of("ann").count(), 0);
    assert!(catalogue.is_empty());
}

#[test]
fn what_was_written_is_told_from_what_was_not() {
    let tenant = TenantId::generate();
    let id = ProjectId::generate();
    let mut catalogue = Catalogue::default();
    let written = document(id, 2, project(tenant, "a", State::Active));
    assert_eq!(catalogue.beside(&written, 1), Beside::Unwritten);
    catalogue.apply(
        vec![document(id, 1, project(tenant, "b", State::Active))],
        1,
    );
    assert_eq!(catalogue.beside(&written, 1), Beside::Unwritten);
    catalogue.apply(vec![written.clone()], 2);
    assert_eq!(catalogue.beside(&written, 1), Beside::Same);
    catalogue.apply(
        vec![document(id, 3, project(tenant, "c", State::Active))],
        3,
    );
    assert_eq!(catalogue.beside(&written, 1), Beside::Overwritten);
    let gone = document(id, 4, Resource::Deleted(Deleted::default()));
    assert_eq!(catalogue.beside(&gone, 3), Beside::Unwritten);
    catalogue.apply(vec![gone.clone()], 4);
    assert_eq!(catalogue.beside(&gone, 3), Beside::Same);
}
