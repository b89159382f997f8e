//! Paths and bodies as no client of ours writes them.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::stage::{Served, Stage};

/// The status of the answer to a request line as it stands.
async fn raw(served: &Served, credential: &str, path: &str) -> String {
    let address = served.address.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credential}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn strange_paths_lead_nowhere() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let (own, other) = (operator.tenant("own").await, operator.tenant("other").await);
    let project = operator.project(&other, "p").await;
    operator.member(&own, "ann", "owner").await;
    let ann = stage.token("ann", json!({}));
    let id = other.rsplit('/').next().unwrap();
    let long = "x".repeat(10_000);
    let paths = [
        format!("{own}/../{id}"),
        format!("{own}/%2e%2e/{id}"),
        format!("{own}%2f..%2f{id}"),
        format!("{own}//projects"),
        format!("{own}/projects/"),
        format!("{own}/projects/../../{id}/projects"),
        format!("{own}/projects/{}", project.rsplit('/').next().unwrap()),
        format!("/v1//tenants/{id}"),
        format!("//v1/tenants/{id}"),
        format!("{own}%00"),
        format!("{own}%ff"),
        format!("{own}%"),
        format!("{own};{id}"),
        format!("{own}/{long}"),
        format!("/v1/tenants/{long}"),
        format!("/v1/tenants/{}", id.replace("ten_", "prj_")),
        format!("/v1/tenants/{}", id.replace("ten_", "")),
        format!("/v1/tenants/{}", id.replace("ten_", "TEN_")),
        "/v1/tenants/*".into(),
        "/v1/tenants/+".into(),
        "/v1/tenants/$".into(),
        "/v1/tenants/{tenant}".into(),
    ];
    for path in paths {
        let status = raw(&served, &ann, &path).await;
        assert!(["404", "400"].contains(&status.as_str()), "{status} {path}");
    }
    let huge = format!("/v1/tenants/{}", "x".repeat(100_000));
    let status = raw(&served, &ann, &huge).await;
    assert!(
        ["431", "414", "400", "none"].contains(&status.as_str()),
        "{status}"
    );
    assert_eq!(raw(&served, &ann, &own).await, "200");
}

#[tokio::test]
async fn strange_bodies_are_refused() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    let post = |kind: &str, body: String| {
        let request = operator.request(reqwest::Method::POST, "/v1/tenants");
        request.header("content-type", kind).body(body)
    };
    for body in [
        "",
        "null",
        "[]",
        "1",
        "{",
        "{}{}",
        "{\"name\":1}",
        "{\"name\":\"a\",\"x\":1}",
        "\u{feff}{\"name\":\"a\"}",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"name\":\"a\",\"quotas\":{\"x\":1}}",
        "{\"name\":\"a\",\"state\":\"gone\"}",
        "{\"name\":\"a\",\"state\":\"deleting\"}",
        "{\"name\":\"a\",\"quotas\":{\"topics\":1.5}}",
        "{\"name\":\"a\",\"quotas\":{\"topics\":-1}}",
        "{\"name\":\"a\",\"quotas\":{\"topics\":99999999999999999999}}",
        "{\"name\":\"\"}",
        "{\"name\":\"a\\u0000\"}",
        "{\"name\":\"a\",\"labels\":{\"\":\"\"}}",
        &format!("{{\"name\":\"{}\"}}", "x".repeat(10_000)),
        &"[".repeat(10_000),
    ] {
        operator
            .send(post("application/json", body.into()))
            .await
            .refused(400, "invalid_request");
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(300_000));
    operator
        .send(post("application/json", large))
        .await
        .refused(413, "payload_too_large");
    for kind in ["text/plain", "application/xml", "", "application/json2"] {
        let reply = operator.send(post(kind, "{\"name\":\"a\"}".into())).await;
        reply.refused(415, "unsupported");
    }
    operator
        .send(post(
            "Application/JSON; charset=utf-8",
            "{\"name\":\"a\"}".into(),
        ))
        .await
        .created();
    assert_eq!(stage.cluster.log().len(), 1);
}

#[tokio::test]
async fn what_does_not_exist_says_so() {
    let stage = Stage::new().await;
    let served = stage.serve().await;
    let operator = stage.operator(&served);
    operator
        .get("/v2/tenants")
        .await
        .refused(404, "unsupported");
    let reply = operator.delete("/v1/tenants").await;
    reply.refused(405, "unsupported");
    assert!(reply.headers["allow"].to_str().unwrap().contains("POST"));
    // Names for people may hold anything; they stand in no path.
    for name in ["..", "a//b", "%2f", "#", "$SYS", "ü"] {
        let tenant = operator.tenant(name).await;
        assert_eq!(operator.get(&tenant).await.ok()["name"], name);
    }
}
