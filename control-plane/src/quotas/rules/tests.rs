//! What may become of quotas.

use super::*;
use crate::desk::{Desk, parse};

#[test]
fn quotas_are_replaced_as_a_whole() {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let any = IfMatch::default();
    for body in [json!({"topics": 5, "connections": 6}), json!({"topics": 7})] {
        let quotas: Quotas = parse(body.clone());
        let answer = desk
            .make(|now| set_of_tenant(now, tenant, &any, &quotas))
            .unwrap();
        assert_eq!(answer.body, Some(body));
    }
    let stored = desk
        .catalogue
        .tenants
        .get(tenant)
        .unwrap()
        .value
        .quotas
        .unwrap();
    assert_eq!((stored.topics, stored.connections), (7, 0));
    let nothing: Quotas = parse(json!({"topics": 0}));
    assert!(
        desk.make(|now| set_of_tenant(now, tenant, &any, &nothing))
            .is_err()
    );
}
