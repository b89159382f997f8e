//! The description is committed, complete, and can be browsed without asking anybody else.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::stage::Stage;

/// `UPDATE=1 cargo test -p highwater-control-plane` writes it anew.
#[test]
fn the_committed_description_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let document = highwater_control_plane::openapi::document();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document, "run again with UPDATE=1");
}

#[test]
fn every_operation_says_what_it_may_refuse() {
    let document: Value =
        serde_json::from_str(&highwater_control_plane::openapi::document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = &operation["responses"];
            let writes = method != "get";
            let mut statuses = vec!["400", "401", "403", "404", "429", "500", "503"];
            if writes {
                statuses.extend(["409", "412", "413", "415", "422"]);
            }
            for status in statuses {
                let name = responses[status]["$ref"].as_str().unwrap_or_default();
                let described = document.pointer(name.trim_start_matches('#'));
                let problem =
                    described.map(|r| &r["content"]["application/problem+json"]["schema"]["$ref"]);
                let expected = Value::from("#/components/schemas/Problem");
                assert_eq!(problem, Some(&expected), "{method} {path} {status}");
            }
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{name} is there twice");
            assert!(operation["summary"].is_string(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_description_can_be_browsed_without_asking_anybody_else() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let anybody = served.with("");
    let document = anybody.get("/v1/openapi.json").await;
    assert_eq!(document.text, highwater_control_plane::openapi::document());
    let page = anybody.get("/docs/").await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"));
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    // Everything that the page names is here.
    let named = page
        .text
        .split(['"', '\''])
        .filter(|name| name.starts_with("./"));
    for name in named {
        let part = anybody.get(&format!("/docs/{}", &name[2..])).await;
        assert_eq!(part.status, 200, "{name}");
    }
    assert!(
        anybody
            .get("/docs/swagger-initializer.js")
            .await
            .text
            .contains("/v1/openapi.json")
    );
}
