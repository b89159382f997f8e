//! Which tokens open which project, for how long, and for what.

use highwater_credentials::{
    KeyHasher,
    token::{ServiceClaims, SigningKey},
};
use highwater_proto::{
    control::{self, Deleted, Document, document::Resource, revocation::What},
    ids::{ShardId, TenantId},
    names::{TopicFilter, TopicName},
};

use super::*;
use crate::catalogue::Principal;

const SHARDS: &[ShardId] = &[ShardId(0)];
const NOW_S: u64 = 1_800_000_000;
const NOW_MS: u64 = NOW_S * 1_000;

/// A catalogue with two projects of one tenant, a key of the service, and an issuer that both trust.
struct World {
    catalogue: Catalogue,
    ours: ProjectId,
    theirs: ProjectId,
    service: SigningKeyId,
    issuers: [IssuerId; 2],
}

fn signing_key(id: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(id, &[seed; 32]).unwrap()
}

impl World {
    fn new() -> World {
        let mut world = World {
            catalogue: Catalogue::default(),
            ours: ProjectId::generate(),
            theirs: ProjectId::generate(),
            service: SigningKeyId::generate(),
            issuers: [IssuerId::generate(), IssuerId::generate()],
        };
        let tenant = TenantId::generate();
        world.put(tenant, Resource::Tenant(control::Tenant::default()));
        for project in [world.ours, world.theirs] {
            let document = control::Project {
                tenant: tenant.to_string(),
                spread: 1,
                ..control::Project::default()
            };
            world.put(project, Resource::Project(document));
        }
        let service = world.service;
        world.put(
            service,
            Resource::SigningKey(control::SigningKey {
                public_jwk: signing_key(&service.to_string(), 1).public_jwk(),
                ..control::SigningKey::default()
            }),
        );
        // Each has keys of its own at the same identity provider, under the same names.
        let projects = [
            (world.issuers[0], world.ours, 2),
            (world.issuers[1], world.theirs, 3),
        ];
        for (id, project, seed) in projects {
            world.put(id, Resource::Issuer(issuer(project, seed)));
        }
        world
    }

    fn put(&mut self, id: impl ToString, resource: Resource) {
        let document = Document {
            id: id.to_string(),
            resource: Some(resource),
            ..Document::default()
        };
        self.catalogue.apply(&document, SHARDS).unwrap();
    }

    fn take_away(&mut self, id: impl ToString) {
        self.put(id, Resource::Deleted(Deleted::default()));
    }

    fn claims(&self, project: ProjectId) -> ServiceClaims {
        ServiceClaims {
            iss: SERVICE_ISSUER,
            aud: project.to_string(),
            sub: Some("alice".to_owned()),
            jti: "t1".to_owned(),
            iat: NOW_S,
            exp: NOW_S + 600,
            permissions: vec![grant("publish", "users/${sub}/#")],
            highwater_key: None,
        }
    }

    /// A token of the service.
    fn minted(&self, change: impl FnOnce(&mut ServiceClaims)) -> String {
        let mut claims = self.claims(self.ours);
        change(&mut claims);
        signing_key(&self.service.to_string(), 1).sign(&claims)
    }

    /// A token of the identity provider, signed with the key of one of the projects.
    fn foreign(&self, seed: u8, change: impl FnOnce(&mut ServiceClaims)) -> String {
        let mut claims = self.claims(self.ours);
        claims.iss = "https://id.example.com";
        change(&mut claims);
        signing_key("k1", seed).sign(&claims)
    }

    fn opens(&self, text: &str) -> Option<Principal> {
        let token = self.catalogue.verify_token(text, NOW_MS).ok()?;
        self.catalogue.bearer(&Arc::new(token), NOW_MS).ok()
    }
}

fn issuer(project: ProjectId, seed: u8) -> control::Issuer {
    control::Issuer {
        project: project.to_string(),
        issuer: "https://id.example.com".to_owned(),
        audiences: vec!["app".to_owned()],
        jwks: format!("{{\"keys\":[{}]}}", signing_key("k1", seed).public_jwk()),
        ..control::Issuer::default()
    }
}

fn grant(operation: &str, topics: &str) -> Grant {
    Grant {
        operations: vec![operation.to_owned()],
        topics: topics.to_owned(),
    }
}

fn may(principal: &Principal, operation: Operation, topic: &str) -> bool {
    let topic = TopicName::try_from(topic).unwrap();
    principal.require(operation, &topic).is_ok()
}

#[test]
fn a_token_of_the_service_opens_its_project_for_what_it_says() {
    let world = World::new();
    let principal = world.opens(&world.minted(|_| {})).unwrap();
    assert_eq!(principal.project.id, world.ours);
    assert_eq!(principal.expires_at_ms, Some(NOW_MS + 600_000));
    assert!(may(&principal, Operation::Publish, "users/alice/inbox"));
    assert!(!may(&principal, Operation::Publish, "users/bob/inbox"));
    assert!(!may(&principal, Operation::Subscribe, "users/alice/inbox"));
    let theirs = world.minted(|claims| claims.aud = world.theirs.to_string());
    assert_eq!(world.opens(&theirs).unwrap().project.id, world.theirs);
    let nowhere = world.minted(|claims| claims.aud = ProjectId::generate().to_string());
    assert!(world.opens(&nowhere).is_none());
    let too_long = world.minted(|claims| claims.exp = NOW_S + TOKEN_LIFETIME_MS_MAX / 1_000 + 1);
    assert!(world.opens(&too_long).is_none());
    let other_key = signing_key(&SigningKeyId::generate().to_string(), 1);
    assert!(
        world
            .opens(&other_key.sign(&world.claims(world.ours)))
            .is_none()
    );
}

#[test]
fn an_issuer_opens_only_projects_that_have_named_it() {
    let world = World::new();
    let ours = world.opens(&world.foreign(2, |_| {})).unwrap();
    assert_eq!(ours.project.id, world.ours);
    // What is signed with the key of one project does not open the other, whatever it says.
    let theirs = world.theirs.to_string();
    assert!(
        world
            .opens(&world.foreign(2, |claims| claims.aud = theirs.clone()))
            .is_none()
    );
    let principal = world.opens(&world.foreign(3, |claims| claims.aud = theirs.clone()));
    assert_eq!(principal.unwrap().project.id, world.theirs);
    assert!(world.opens(&world.foreign(3, |_| {})).is_none());
    // An issuer does not speak for the service, nor the service's keys for an issuer.
    assert!(
        world
            .opens(&world.foreign(2, |claims| claims.iss = SERVICE_ISSUER))
            .is_none()
    );
    assert!(
        world
            .opens(&world.minted(|c| c.iss = "https://id.example.com"))
            .is_none()
    );
    assert!(
        world
            .opens(&world.foreign(2, |claims| claims.iss = "https://id.example.com/"))
            .is_none()
    );
    // Another audience than the project needs to be told which project is meant.
    assert!(
        world
            .opens(&world.foreign(2, |claims| claims.aud = "app".to_owned()))
            .is_none()
    );
}

#[test]
fn an_issuer_that_names_no_project_as_audience_says_it_beside() {
    let mut world = World::new();
    let sign = |world: &World, audience: &str| {
        let claims = serde_json::json!({
            "iss": "https://id.example.com", "aud": audience, "iat": NOW_S, "exp": NOW_S + 600,
            "highwater_project": world.ours.to_string(),
        });
        signing_key("k1", 2).sign_any(&claims)
    };
    assert!(world.opens(&sign(&world, "app")).is_some());
    assert!(world.opens(&sign(&world, "another app")).is_none());
    let mut short = issuer(world.ours, 2);
    short.token_lifetime_ms_max = 599_000;
    let id = world.issuers[0];
    world.put(id, Resource::Issuer(short));
    assert!(world.opens(&sign(&world, "app")).is_none());
}

#[test]
fn a_token_allows_no_more_than_its_issuer_may() {
    let mut world = World::new();
    let permission = |operation: &str, topics: &str| control::Permission {
        operations: vec![operation.to_owned()],
        topics: topics.to_owned(),
    };
    let limited = control::Issuer {
        permissions_max: vec![
            permission("publish", "users/${sub}/#"),
            permission("subscribe", "news/#"),
        ],
        ..issuer(world.ours, 2)
    };
    let id = world.issuers[0];
    let without_limits = world.opens(&world.foreign(2, |_| {})).unwrap();
    world.put(id, Resource::Issuer(limited));
    let now = world.catalogue.recheck(&without_limits, NOW_MS);
    assert!(now.is_err(), "it was verified for more than may be now");
    let all = vec![grant("publish", "#"), grant("manage", "#")];
    let principal = world
        .opens(&world.foreign(2, |claims| claims.permissions = all))
        .unwrap();
    assert!(may(&principal, Operation::Publish, "users/alice/a"));
    assert!(!may(&principal, Operation::Publish, "users/bob/a"));
    assert!(!may(&principal, Operation::Manage, "users/alice/a"));
    assert!(!may(&principal, Operation::Subscribe, "news/a"));
    let wide = TopicFilter::try_from("users/#").unwrap();
    assert!(principal.require_all(Operation::Publish, &wide).is_err());
}

#[test]
fn a_subject_is_a_level_and_never_a_wildcard() {
    let world = World::new();
    for subject in ["#", "+", "a/#", "a/b", "", "$SYS", "a\0"] {
        let token = world.minted(|claims| claims.sub = Some(subject.to_owned()));
        let principal = world.opens(&token).unwrap();
        for topic in ["users/alice/a", "users/a/b", "users/a/b/c"] {
            assert!(!may(&principal, Operation::Publish, topic), "{subject:?}");
        }
    }
    let nobody = world
        .opens(&world.minted(|claims| claims.sub = None))
        .unwrap();
    assert!(!may(&nobody, Operation::Publish, "users/${sub}/a"));
}

#[test]
fn what_was_revoked_opens_nothing_and_what_came_later_does() {
    let mut world = World::new();
    let by_id = world.minted(|_| {});
    let by_subject = world.minted(|claims| claims.jti = "t2".to_owned());
    let of_bob = world.minted(|claims| {
        (claims.jti, claims.sub) = ("t3".to_owned(), Some("bob".to_owned()));
    });
    let later = world.minted(|claims| {
        (claims.jti, claims.iat) = ("t4".to_owned(), NOW_S + 2);
    });
    let opens =
        |world: &World| [&by_id, &by_subject, &of_bob, &later].map(|t| world.opens(t).is_some());
    assert_eq!(opens(&world), [true; 4]);
    let revoke = |world: &mut World, what: What, project: ProjectId| {
        let id = RevocationId::generate();
        let revocation = control::Revocation {
            project: project.to_string(),
            issued_before_ms: NOW_MS + 1_000,
            what: Some(what),
            ..control::Revocation::default()
        };
        world.put(id, Resource::Revocation(revocation));
        id
    };
    let (ours, theirs) = (world.ours, world.theirs);
    revoke(&mut world, What::All(true), theirs);
    assert_eq!(opens(&world), [true; 4]);
    revoke(&mut world, What::TokenId("t1".to_owned()), ours);
    assert_eq!(opens(&world), [false, true, true, true]);
    let subject = revoke(&mut world, What::Subject("alice".to_owned()), ours);
    assert_eq!(opens(&world), [false, false, true, true]);
    let all = revoke(&mut world, What::All(true), ours);
    assert_eq!(opens(&world), [false, false, false, true]);
    world.take_away(all);
    world.take_away(subject);
    assert_eq!(opens(&world), [false, true, true, true]);
}

#[test]
fn a_token_ends_with_its_key_its_issuer_and_its_project() {
    let mut world = World::new();
    let key = KeyId::generate();
    let api_key = |is_disabled| {
        Resource::ApiKey(control::ApiKey {
            project: world.ours.to_string(),
            secret_hash: vec![0; 32].into(),
            is_disabled,
            ..control::ApiKey::default()
        })
    };
    let (usable, disabled) = (api_key(false), api_key(true));
    let with_key = world.minted(|claims| claims.highwater_key = Some(key.to_string()));
    assert!(world.opens(&with_key).is_none());
    world.put(key, usable.clone());
    assert!(world.opens(&with_key).is_some());
    world.put(key, disabled);
    assert!(world.opens(&with_key).is_none());
    world.put(key, usable);

    let foreign = world.foreign(2, |_| {});
    let principal = world.opens(&foreign).unwrap();
    let recheck = |world: &World| world.catalogue.recheck(&principal, NOW_MS).is_ok();
    assert!(recheck(&world));
    // Another key of the same name was put in its place.
    let id = world.issuers[0];
    let (known, rotated) = (issuer(world.ours, 2), issuer(world.ours, 9));
    world.put(id, Resource::Issuer(rotated));
    assert!(world.opens(&foreign).is_none());
    assert!(!recheck(&world));
    world.put(id, Resource::Issuer(known));
    assert!(recheck(&world));
    world.take_away(id);
    assert!(!recheck(&world));

    let (service, project) = (world.service, world.ours);
    let retired = control::SigningKey {
        public_jwk: signing_key(&service.to_string(), 1).public_jwk(),
        accepted_until_ms: NOW_MS,
        ..control::SigningKey::default()
    };
    assert!(world.opens(&with_key).is_some());
    world.put(service, Resource::SigningKey(retired.clone()));
    assert!(world.opens(&with_key).is_none());
    let in_use = control::SigningKey {
        accepted_until_ms: 0,
        ..retired
    };
    world.put(service, Resource::SigningKey(in_use));
    assert!(world.opens(&with_key).is_some());
    world.take_away(project);
    assert!(world.opens(&with_key).is_none());
}

#[test]
fn a_token_is_no_key_and_a_key_no_token() {
    let world = World::new();
    let (key, _) = KeyHasher::new(b"secret").make_key(KeyId::generate(), &[1; 32]);
    assert!(world.catalogue.verify_token(&key, NOW_MS).is_err());
    let hasher = KeyHasher::new(b"secret");
    let token = world.minted(|_| {});
    let as_key = world.catalogue.authenticate(&hasher, &token, NOW_MS);
    let wrong = world.catalogue.verify_token("ey", NOW_MS).unwrap_err();
    assert_eq!(as_key.unwrap_err(), wrong, "all are told the same");
}
