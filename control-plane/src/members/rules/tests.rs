//! What may become of a member.

use super::*;
use crate::desk::{Desk, parse};

fn add(desk: &mut Desk, tenant: TenantId, subject: &str, role: &str) -> At {
    let at = (tenant, AdministratorId::generate());
    let new = parse(json!({"subject": subject, "role": role}));
    desk.make(|now| create(now, at, &new)).unwrap();
    at
}

#[test]
fn the_last_owner_stays_unless_an_operator_says_otherwise() {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let ann = add(&mut desk, tenant, "ann", "owner");
    let bob = add(&mut desk, tenant, "bob", "editor");
    let (any, viewer) = (IfMatch::default(), parse(json!({"role": "viewer"})));
    desk.be("ann");
    assert_eq!(
        desk.make(|now| delete(now, ann, &any)).unwrap_err().reason,
        Reason::InUse
    );
    assert_eq!(
        desk.make(|now| patch(now, ann, &any, &viewer))
            .unwrap_err()
            .reason,
        Reason::InUse
    );
    let owner = parse(json!({"role": "owner"}));
    desk.make(|now| patch(now, bob, &any, &owner)).unwrap();
    desk.make(|now| delete(now, ann, &any)).unwrap();
    desk.caller = crate::admin::Caller::service();
    desk.make(|now| delete(now, bob, &any)).unwrap();
    assert_eq!(desk.catalogue.tenants_of("ann").count(), 0);
}

#[test]
fn a_member_of_another_tenant_is_not_found() {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let ann = add(&mut desk, tenant, "ann", "owner");
    let any = IfMatch::default();
    let elsewhere = (TenantId::generate(), ann.1);
    assert_eq!(
        desk.make(|now| delete(now, elsewhere, &any))
            .unwrap_err()
            .reason,
        Reason::NotFound
    );
}
