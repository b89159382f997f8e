//! What may become of a project.

use super::*;
use crate::desk::{Desk, parse};

#[test]
fn a_deletion_is_final_and_frees_the_name() {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let at = (tenant, ProjectId::generate());
    let new: NewProject = parse(json!({"name": "p", "expires_in_ms": 5}));
    desk.make(|now| create(now, at, &new)).unwrap();
    let other = (tenant, ProjectId::generate());
    let taken = desk.make(|now| create(now, other, &new)).unwrap_err();
    assert_eq!(taken.reason, Reason::NameTaken);
    let any = IfMatch::default();
    desk.make(|now| delete(now, at, &any)).unwrap();
    let back = parse(json!({"state": "active"}));
    let refused = desk.make(|now| patch(now, at, &any, &back)).unwrap_err();
    assert_eq!(refused.reason, Reason::Deleting);
    desk.make(|now| create(now, other, &new)).unwrap();
}

#[test]
fn a_patch_that_changes_nothing_writes_nothing() {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let at = (tenant, ProjectId::generate());
    let new: NewProject = parse(json!({"name": "p", "expires_in_ms": 5}));
    desk.make(|now| create(now, at, &new)).unwrap();
    // Its time may be over by now: what is not changed is not checked again.
    desk.ms += 100;
    let any = IfMatch::default();
    for body in [
        json!({}),
        json!({"name": "p"}),
        json!({"labels": {"a": null}}),
    ] {
        let body = parse(body);
        desk.make(|now| patch(now, at, &any, &body)).unwrap();
        assert_eq!(desk.written, 0);
    }
    let renamed = parse(json!({"name": "q"}));
    desk.make(|now| patch(now, at, &any, &renamed)).unwrap();
    let past = parse(json!({"expires_at": "1970-01-01T00:00:00.001Z"}));
    assert!(desk.make(|now| patch(now, at, &any, &past)).is_err());
}

#[test]
fn a_project_is_spread_over_shards_that_there_are() {
    for (spread, shards, fits) in [
        (1, 1, true),
        (2, 1, false),
        (0, 8, false),
        (64, 100, true),
        (65, 100, false),
    ] {
        assert_eq!(
            check_spread(spread, shards).is_ok(),
            fits,
            "{spread} of {shards}"
        );
    }
}
