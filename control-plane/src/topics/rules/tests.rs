//! What may become of topic policies.

use super::*;
use crate::desk::{Desk, parse};

#[test]
fn policies_are_replaced_in_their_order() {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let at = (tenant, ProjectId::generate());
    let new = parse(json!({"name": "p", "labels": {"a": "b"}}));
    desk.make(|now| projects::create(now, at, &new)).unwrap();
    let any = IfMatch::default();
    let policies = parse(json!({"policies": [{"filter": "b"}, {"filter": "a"}]}));
    desk.make(|now| set(now, at, &any, &policies)).unwrap();
    desk.make(|now| set(now, at, &any, &policies)).unwrap();
    assert_eq!(desk.written, 0);
    let stored = &desk.catalogue.projects.get(at.1).unwrap().value;
    let filters: Vec<_> = stored
        .policies
        .iter()
        .map(|policy| policy.filter.as_str())
        .collect();
    assert_eq!(filters, ["b", "a"]);
    assert_eq!(stored.labels["a"], "b", "the rest of the project stays");
}
