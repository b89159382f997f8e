//! Pages of other places: which may ask, and what they may read.

use http::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use crate::{
    stage::{Stage, expect, refused, within},
    websocket::{Peer, refused_with, request, with_key},
};

const APP: &str = "https://app.example.com";
const EVIL: &str = "https://evil.example.org";

async fn stage() -> Stage {
    let mut stage = Stage::open().await;
    stage.allow_origins(&["https://*.example.com"]);
    stage
}

fn from(origin: &str, request: RequestBuilder) -> RequestBuilder {
    request.header("origin", origin)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Asserts that a page of this origin may read the answer.
fn is_readable_by(origin: &str, headers: &HeaderMap) {
    assert_eq!(text(headers, "access-control-allow-origin"), origin);
    assert_eq!(text(headers, "access-control-allow-credentials"), "true");
    let varies = headers.get_all("vary").iter();
    assert!(
        varies
            .into_iter()
            .any(|names| names.to_str().unwrap().contains("origin"))
    );
}

#[tokio::test]
async fn a_preflight_is_answered_on_every_route() {
    let stage = stage().await;
    for path in [
        "/v1/messages",
        "/v1/messages/a/b",
        "/v1/topics",
        "/v1/topics/a",
        "/v1/tickets",
        "/v1/sse",
        "/v1/sse/x/auth",
        "/highwater.client.v1.Highwater/Publish",
    ] {
        let asked = "authorization,content-type,idempotency-key,highwater-header-x,if-match";
        let preflight = from(APP, stage.anonymous(Method::OPTIONS, path))
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", asked);
        let response = within(preflight.send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{path}");
        let headers = response.headers();
        is_readable_by(APP, headers);
        assert_eq!(text(headers, "access-control-allow-headers"), asked);
        assert!(text(headers, "access-control-allow-methods").contains("DELETE"));
        assert_eq!(text(headers, "access-control-max-age"), "7200");
    }
}

#[tokio::test]
async fn a_preflight_says_nothing_of_who_allows_what() {
    let stage = stage().await;
    let mut answers = Vec::new();
    for origin in [APP, EVIL] {
        let preflight = from(origin, stage.anonymous(Method::OPTIONS, "/v1/topics"))
            .header("access-control-request-method", "GET");
        let response = within(preflight.send()).await.unwrap();
        let mut headers = response.headers().clone();
        is_readable_by(origin, &headers);
        headers.remove("access-control-allow-origin");
        headers.remove("date");
        answers.push((response.status(), headers));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn pages_of_no_allowed_origin_are_refused_before_anything_is_done() {
    let stage = stage().await;
    for request in [
        stage.post("/v1/messages/a", "x"),
        stage.post(
            "/v1/messages",
            r#"{"messages": [{"topic": "a", "data": 1}]}"#,
        ),
        stage.get("/v1/messages/a"),
        stage.get("/v1/topics"),
        stage.request(Method::DELETE, "/v1/topics/a"),
        stage.post("/v1/tickets", ""),
        stage.get("/v1/sse?topic=a"),
    ] {
        let request = from(EVIL, request).build().unwrap();
        let again = request.try_clone().unwrap();
        let response = within(reqwest::Client::new().execute(request))
            .await
            .unwrap();
        is_readable_by(EVIL, response.headers());
        let again = RequestBuilder::from_parts(reqwest::Client::new(), again);
        let problem = refused(again, "forbidden").await;
        assert_eq!(problem["status"], 403);
    }
    let mut handshake = with_key(&stage, &stage.key);
    handshake
        .headers_mut()
        .insert("origin", EVIL.parse().unwrap());
    assert_eq!(refused_with(handshake).await, 403);
    // Another tenant's page is as foreign as any.
    let theirs = stage
        .anonymous(Method::GET, "/v1/topics")
        .bearer_auth(&stage.strangers_key);
    refused(from(APP, theirs), "forbidden").await;
    let topics = expect(stage.get("/v1/topics"), StatusCode::OK).await;
    assert_eq!(topics["topics"], json!([]));
}

#[tokio::test]
async fn pages_of_an_allowed_origin_read_what_they_are_answered() {
    let stage = stage().await;
    stage.publish("a", "x").await;
    let head = from(APP, stage.request(Method::HEAD, "/v1/messages/a"));
    let response = within(head.send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    is_readable_by(APP, response.headers());
    let exposed = text(response.headers(), "access-control-expose-headers");
    for name in response.headers().keys().map(|name| name.as_str()) {
        let is_ours = name.starts_with("highwater-") || name == "etag";
        assert!(!is_ours || exposed.contains(name), "{name} in {exposed}");
    }
    for name in ["retry-after", "grpc-status", "grpc-message"] {
        assert!(exposed.contains(name), "{name} in {exposed}");
    }
    let anonymous = stage.anonymous(Method::GET, "/v1/topics");
    let response = within(from(APP, anonymous).send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    is_readable_by(APP, response.headers());
    let mut handshake = with_key(&stage, &stage.key);
    handshake
        .headers_mut()
        .insert("origin", APP.parse().unwrap());
    Peer::with(handshake).await;
}

#[tokio::test]
async fn grpc_web_follows_the_same_rules() {
    let stage = stage().await;
    let call = |origin| {
        let request = stage.post("/highwater.client.v1.Highwater/GetTopic", vec![0; 5]);
        from(origin, request).header("content-type", "application/grpc-web+proto")
    };
    // 7 is PERMISSION_DENIED, 3 is INVALID_ARGUMENT: the empty request names no topic.
    for (origin, status) in [(EVIL, "7"), (APP, "3")] {
        let response = within(call(origin).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        is_readable_by(origin, response.headers());
        assert_eq!(text(response.headers(), "grpc-status"), status);
    }
}

#[tokio::test]
async fn the_pages_of_the_service_itself_are_not_restricted() {
    let stage = stage().await;
    let own = format!("http://{}", stage.address);
    for client in [
        reqwest::Client::new(),
        reqwest::Client::builder()
            .http2_prior_knowledge()
            .build()
            .unwrap(),
    ] {
        let request = client.get(stage.url("/v1/topics")).bearer_auth(&stage.key);
        let response = within(from(&own, request).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let mut handshake = with_key(&stage, &stage.key);
    handshake
        .headers_mut()
        .insert("origin", own.parse().unwrap());
    Peer::with(handshake).await;
}

#[tokio::test]
async fn what_needs_no_credential_is_for_no_pages() {
    let stage = stage().await;
    let response = within(from(APP, stage.anonymous(Method::GET, "/livez")).send()).await;
    let headers = response.unwrap().headers().clone();
    assert!(!headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_first_message_from_no_allowed_page_closes_the_connection() {
    let stage = stage().await;
    for (origin, expected) in [(EVIL, "error"), (APP, "authenticated")] {
        let mut handshake = request(&stage);
        handshake
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        let mut peer = Peer::with(handshake).await;
        let auth = json!({"type": "auth", "id": 1, "credential": stage.key});
        let answer = peer.ask(auth).await;
        assert_eq!(answer["type"], expected, "{answer}");
        if expected == "error" {
            assert_eq!(answer["code"], "forbidden");
            assert_eq!(peer.closed().await, 4403);
        }
    }
}

#[tokio::test]
async fn a_page_that_is_no_longer_allowed_loses_its_connections() {
    let mut stage = stage().await;
    let mut handshake = with_key(&stage, &stage.key);
    handshake
        .headers_mut()
        .insert("origin", APP.parse().unwrap());
    let mut peer = Peer::with(handshake).await;
    stage.allow_origins(&["https://other.example.com"]);
    assert_eq!(peer.closed().await, 4403);
}
