//! What may become of an API key.

use highwater_credentials::KeyHasher;

use super::*;
use crate::desk::{Desk, parse};

fn secret(id: KeyId, seed: u8) -> Secret {
    let (text, hash) = KeyHasher::new(b"secret of the cluster").make_key(id, &[seed; 32]);
    Secret { text, hash }
}

fn desk() -> (Desk, At) {
    let (mut desk, tenant) = Desk::with_tenant("acme");
    let at = (tenant, ProjectId::generate(), KeyId::generate());
    let project = parse(json!({"name": "p"}));
    desk.make(|now| projects::create(now, (at.0, at.1), &project))
        .unwrap();
    let new =
        parse(json!({"name": "k", "permissions": [{"operations": ["publish"], "topics": "#"}]}));
    desk.make(|now| create(now, at, &new, &secret(at.2, 1)))
        .unwrap();
    (desk, at)
}

#[test]
fn the_secret_of_before_stays_good_for_a_while() {
    let (mut desk, at) = desk();
    let stored = |desk: &Desk| desk.catalogue.keys.get(at.2).unwrap().value.clone();
    let first = stored(&desk).secret_hash;
    desk.make(|now| rotate(now, at, &Rotation { overlap_ms: 50 }, &secret(at.2, 2)))
        .unwrap();
    let rotated = stored(&desk);
    assert_eq!(rotated.previous_secret_hash, first);
    assert_eq!(rotated.previous_until_ms, desk.ms + 50);
    assert_ne!(rotated.secret_hash, first);
    // Without an overlap nothing but the new one is good.
    desk.make(|now| rotate(now, at, &Rotation::default(), &secret(at.2, 3)))
        .unwrap();
    let rotated = stored(&desk);
    assert!(rotated.previous_secret_hash.is_empty() && rotated.previous_until_ms == 0);
}

#[test]
fn a_key_is_found_in_its_own_project_only() {
    let (mut desk, at) = desk();
    let elsewhere = (at.0, ProjectId::generate(), at.2);
    let other = parse(json!({"name": "q"}));
    desk.make(|now| projects::create(now, (elsewhere.0, elsewhere.1), &other))
        .unwrap();
    let any = IfMatch::default();
    let refused = desk.make(|now| delete(now, elsewhere, &any)).unwrap_err();
    assert_eq!(refused.reason, Reason::NotFound);
    desk.make(|now| delete(now, at, &any)).unwrap();
    assert_eq!(desk.catalogue.keys.len(), 0);
}

#[test]
fn a_project_has_so_many_keys_and_they_go_with_it() {
    let (mut desk, (tenant, project, _)) = desk();
    let create_one = |desk: &mut Desk, n: usize| {
        let id = KeyId::generate();
        let permissions = json!([{"operations": ["manage"], "topics": "#"}]);
        let new = parse(json!({"name": n.to_string(), "permissions": permissions}));
        desk.make(|now| create(now, (tenant, project, id), &new, &secret(id, 1)))
    };
    for n in 1..PROJECT_KEYS_MAX {
        create_one(&mut desk, n).unwrap();
    }
    let refused = create_one(&mut desk, PROJECT_KEYS_MAX).unwrap_err();
    assert_eq!(refused.reason, Reason::LimitReached);
    let any = IfMatch::default();
    desk.make(|now| projects::delete(now, (tenant, project), &any))
        .unwrap();
    assert_eq!(
        (desk.written, desk.catalogue.keys.len()),
        (PROJECT_KEYS_MAX + 1, 0)
    );
}
