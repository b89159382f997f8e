//! What may become of an issuer.

use super::*;
use crate::desk::{Desk, parse};

#[test]
fn tokens_mean_one_issuer_of_a_project() {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let project = ProjectId::generate();
    let new = parse(json!({"name": "p"}));
    desk.make(|now| projects::create(now, (tenant, project), &new))
        .unwrap();
    let mut add = |name: &str, issuer: &str| {
        let settings = parse(
            json!({"name": name, "issuer": issuer, "audiences": ["a"], "jwks_url": "https://a/b"}),
        );
        let at = (tenant, project, IssuerId::generate());
        desk.make(|now| create(now, at, &settings))
            .map_err(|refusal| refusal.reason)
    };
    assert!(add("a", "https://a").is_ok());
    assert_eq!(add("a", "https://b").unwrap_err(), Reason::NameTaken);
    assert_eq!(add("b", "https://a").unwrap_err(), Reason::NameTaken);
    for n in 1..PROJECT_ISSUERS_MAX {
        assert!(add(&format!("{n}"), &format!("https://{n}")).is_ok());
    }
    assert_eq!(
        add("more", "https://more").unwrap_err(),
        Reason::LimitReached
    );
}
