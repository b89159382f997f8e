use super::*;

/// What a control plane has.
fn found() -> Found {
    let permissions = json!([{ "operations": ["subscribe"], "topics": "#" }]);
    Found {
        tenant: Some(json!({
            "id": "ten_1", "name": "acme", "state": "active", "labels": {}, "quotas": { "topics": 9 },
        })),
        members: vec![
            json!({ "id": "mbr_1", "subject": "ann", "role": "owner" }),
            json!({ "id": "mbr_2", "subject": "bob", "role": "editor" }),
        ],
        projects: vec![FoundProject {
            project: json!({
                "id": "prj_1", "name": "prod", "state": "active", "spread": 2, "origins": ["http://a"],
                "labels": { "a": "1", "b": "2" }, "quotas": { "connections": 5, "topics": 1 },
                "expires_at": "2027-01-31T12:00:00.000Z",
            }),
            policies: json!([{ "filter": "a", "last_value": false, "must_exist": true }]),
            keys: vec![
                json!({ "id": "key_1", "name": "reader", "permissions": permissions, "disabled": false }),
                json!({ "id": "key_2", "name": "old", "permissions": permissions, "disabled": true }),
            ],
            issuers: vec![json!({
                "id": "iss_1", "name": "login", "issuer": "i", "audiences": ["app"],
                "jwks_url": "https://a/j", "permissions_max": [],
            })],
        }],
    }
}

fn plan_of(text: &str, prune: bool) -> anyhow::Result<Plan> {
    let document = Document::from_toml(&format!("version = 1\n{text}")).unwrap();
    plan(&document, "acme", &found(), prune)
}

/// Changes as `action title to`, in their order.
fn told(plan: &Plan) -> Vec<String> {
    let told = |c: &Change| match c.action {
        Action::Delete => format!("- {}", c.title()),
        Action::Create => format!("+ {} {}", c.title(), c.to),
        Action::Update => format!("~ {} {}", c.title(), c.to),
    };
    plan.changes.iter().map(told).collect()
}

#[test]
fn what_was_exported_is_what_is_there() {
    let document = found().document().unwrap();
    let toml = toml::to_string(&document).unwrap();
    let read = Document::from_toml(&toml).unwrap();
    let plan = plan(&read, "acme", &found(), true).unwrap();
    assert_eq!(told(&plan), [""; 0]);
}

#[test]
fn what_was_exported_makes_the_same_elsewhere() {
    let document = found().document().unwrap();
    let nothing = Found::default();
    let made = plan(&document, "other", &nothing, true).unwrap();
    let titles: Vec<String> = made.changes.iter().map(Change::title).collect();
    assert_eq!(
        titles,
        [
            "tenant other",
            "project prod",
            "policies of project prod",
            "issuer login of project prod",
            "key old of project prod",
            "key reader of project prod",
            "member ann",
            "member bob",
        ]
    );
    assert_eq!(made.changes[1].to["spread"], 2);
    assert_eq!(made.new_keys().len(), 2);
}

#[test]
fn what_is_not_mentioned_is_left_alone() {
    for text in [
        "",
        "[projects.prod]",
        "[projects.prod]\nspread = 2\norigins = ['http://a']",
        "[projects.prod.keys.reader]\npermissions = [{operations = ['subscribe'], topics = '#'}]",
    ] {
        assert_eq!(told(&plan_of(text, false).unwrap()), [""; 0], "{text}");
    }
}

#[test]
fn what_is_mentioned_is_made_so_wholly() {
    let text = r#"
        [projects.prod]
        expires_at = "never"
        labels = { b = "3" }
        quotas = { connections = 5 }
        policies = []
        [projects.prod.issuers.login]
        issuer = "i"
        audiences = ["app"]
        jwks = { keys = [] }
    "#;
    assert_eq!(
        told(&plan_of(text, false).unwrap()),
        [
            r#"~ project prod {"expires_at":null,"labels":{"a":null,"b":"3"},"quotas":{"topics":null}}"#,
            "~ policies of project prod []",
            r#"~ issuer login of project prod {"jwks":{"keys":[]},"jwks_url":null}"#,
        ]
    );
}

#[test]
fn only_pruning_deletes_and_only_from_lists_that_are_mentioned() {
    let text = "[members]\ncat = 'owner'\n[projects.new]\n[projects.prod.keys]";
    let plan = plan_of(text, false).unwrap();
    let extras: Vec<String> = plan.extras.iter().map(Change::title).collect();
    assert_eq!(
        extras,
        [
            "key reader of project prod",
            "key old of project prod",
            "member ann",
            "member bob"
        ]
    );
    assert_eq!(
        told(&plan),
        [
            r#"+ project new {"name":"new"}"#,
            r#"+ member cat {"role":"owner","subject":"cat"}"#
        ]
    );
    assert_eq!(
        told(&plan_of(text, true).unwrap()),
        [
            r#"+ project new {"name":"new"}"#,
            "- key reader of project prod",
            "- key old of project prod",
            r#"+ member cat {"role":"owner","subject":"cat"}"#,
            "- member ann",
            "- member bob",
        ]
    );
    assert_eq!(
        told(&plan_of("[projects]", true).unwrap()),
        ["- project prod"]
    );
    assert_eq!(told(&plan_of("[projects.prod]", true).unwrap()), [""; 0]);
}

#[test]
fn owners_come_before_others_go() {
    let text = "[members]\nann = 'viewer'\nbob = 'owner'";
    assert_eq!(
        told(&plan_of(text, false).unwrap()),
        [
            r#"~ member bob {"role":"owner"}"#,
            r#"~ member ann {"role":"viewer"}"#
        ]
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    for (text, expected) in [
        ("[projects.prod]\nspread = 3", "spread"),
        (
            "[projects.prod.issuers.x]\nissuer = 'i'\naudiences = []",
            "either",
        ),
    ] {
        let error = plan_of(text, false).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
