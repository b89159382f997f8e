//! What may become of a tenant.

use highwater_proto::ids::ProjectId;

use super::*;
use crate::{
    desk::{Desk, parse},
    projects,
};

#[test]
fn a_tenant_goes_once_it_has_no_projects() {
    let (mut desk, id) = Desk::with_tenant("acme");
    let project = ProjectId::generate();
    let new = parse(json!({"name": "p"}));
    desk.make(|now| projects::create(now, (id, project), &new))
        .unwrap();
    let any = IfMatch::default();
    let refused = desk.make(|now| delete(now, id, &any)).unwrap_err();
    assert_eq!(refused.reason, Reason::InUse);
    desk.make(|now| projects::delete(now, (id, project), &any))
        .unwrap();
    desk.make(|now| delete(now, id, &any)).unwrap();
    // Again, it is the same answer, and nothing is written.
    let answer = desk.make(|now| delete(now, id, &any)).unwrap();
    assert_eq!((answer.status, desk.written), (202, 0));
    let again = parse(json!({"name": "acme"}));
    desk.make(|now| create(now, TenantId::generate(), &again))
        .unwrap();
}

#[test]
fn only_an_operator_changes_what_a_tenant_may_use() {
    let (mut desk, id) = Desk::with_tenant("acme");
    desk.be("ann");
    let any = IfMatch::default();
    for (body, reason) in [
        (json!({"state": "suspended"}), Some(Reason::Forbidden)),
        (json!({"quotas": {"topics": 1}}), Some(Reason::Forbidden)),
        (json!({"state": "active", "labels": {"a": "b"}}), None),
    ] {
        let body = parse(body);
        let made = desk.make(|now| patch(now, id, &any, &body));
        assert_eq!(made.err().map(|refusal| refusal.reason), reason);
    }
}
