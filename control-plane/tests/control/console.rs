//! The console is served whole, to anybody, and asks nobody else for anything.

use reqwest::{Method, header};
use serde_json::json;

use crate::stage::Stage;

const NODES: &str = "[console]\nnodes = [\"https://a.example\", \"http://127.0.0.1:8080/\"]\n";

#[tokio::test]
async fn the_page_and_all_that_it_names_are_here() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let anybody = served.with("");
    for path in ["/", "/console"] {
        // The client follows.
        assert_eq!(anybody.get(path).await.status, 200, "{path}");
    }
    let page = anybody.get("/console/").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let named: Vec<&str> = page
        .text
        .split(['"', '\''])
        .filter(|name| name.ends_with(".js") || name.ends_with(".css") || name.ends_with(".svg"))
        .collect();
    assert_eq!(named, ["icon.svg", "console.css", "console.js"]);
    for name in named {
        let part = anybody.get(&format!("/console/{name}")).await;
        assert_eq!(part.status, 200, "{name}");
        assert_eq!(part.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(anybody.get("/console/other").await.status, 404);
    let description = anybody.get("/v1/openapi.json").await.text;
    assert!(!description.contains("/console"));
}

#[tokio::test]
async fn a_page_may_ask_the_control_plane_and_the_nodes_only() {
    let stage = Stage::new().await;
    let served = stage.serve_with(NODES).await;
    let anybody = served.with("");
    let settings = anybody.get("/console/settings.json").await.ok();
    let nodes = ["https://a.example", "http://127.0.0.1:8080"];
    assert_eq!(settings, json!({ "nodes": nodes }));
    let page = anybody.get("/console/").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    let directives: Vec<&str> = policy.split("; ").collect();
    assert!(directives.contains(&"default-src 'none'"), "{policy}");
    assert!(directives.contains(&"script-src 'self'"), "{policy}");
    let connect = "connect-src 'self' https://a.example http://127.0.0.1:8080";
    assert!(directives.contains(&connect), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // What a policy of its own would need.
    assert!(!page.text.contains("<style") && !page.text.contains("style="));
    assert!(!page.text.contains("<script>"));

    let served = stage.serve().await;
    let anybody = served.with("");
    let settings = anybody.get("/console/settings.json").await.ok();
    assert_eq!(settings, json!({ "nodes": [] }), "unless they are named");
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let anybody = served.with("");
    let get = |encoding: &str, known: &str| {
        let request = anybody.request(Method::GET, "/console/console.js");
        request
            .header(header::ACCEPT_ENCODING, encoding)
            .header(header::IF_NONE_MATCH, known)
    };
    let plain = anybody.send(get("identity", "\"other\"")).await;
    assert_eq!(plain.status, 200);
    assert_eq!(plain.headers["cache-control"], "no-cache");
    assert!(!plain.headers.contains_key("content-encoding"));
    let again = anybody.send(get("identity", &plain.etag())).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.etag(), plain.etag());
    let packed = get("gzip", &plain.etag()).send().await.unwrap();
    assert_eq!(packed.status(), 200, "it is another way to send it");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.headers()["vary"], "accept-encoding");
    assert!(packed.bytes().await.unwrap().len() < plain.text.len() / 2);
}
