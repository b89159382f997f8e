//! Tickets: good once and for a moment, with the permissions of their key.

use highwater_gateway::Options;
use http::HeaderMap;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{
    sse::Events,
    stage::{Stage, expect, refused, within},
    websocket::{Peer, refused_with, request},
};

async fn ticket_of(stage: &Stage, key: &str) -> String {
    let request = stage.anonymous(Method::POST, "/v1/tickets");
    let issued = expect(request.bearer_auth(key), StatusCode::CREATED).await;
    issued["ticket"].as_str().unwrap().to_owned()
}

/// A browser's request for a stream, with what it has to send.
fn stream(stage: &Stage, ticket: &str, topic: &str) -> RequestBuilder {
    stage.anonymous(
        Method::GET,
        &format!("/v1/sse?topic={topic}&ticket={ticket}"),
    )
}

fn socket(stage: &Stage, ticket: &str) -> http::Request<()> {
    let mut request = request(stage);
    let address = format!("{}?ticket={ticket}", request.uri());
    *request.uri_mut() = address.parse().unwrap();
    request
}

/// The cookie of a response, as a browser sends it back, and what is said of it.
fn cookie(headers: &HeaderMap) -> (String, String) {
    let text = headers["set-cookie"].to_str().unwrap();
    let (pair, attributes) = text.split_once("; ").unwrap();
    (pair.to_owned(), attributes.to_owned())
}

#[tokio::test]
async fn a_ticket_is_for_a_key_and_ends_soon() {
    let stage = Stage::open().await;
    let response = within(stage.post("/v1/tickets", "").send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let issued: Value = within(response.json()).await.unwrap();
    assert_eq!(issued["expires_at_ms"], 1_030_000);
    let anonymous = stage.anonymous(Method::POST, "/v1/tickets");
    refused(anonymous, "unauthenticated").await;
    let ticket = issued["ticket"].as_str().unwrap();
    let path = format!("/v1/tickets?ticket={ticket}");
    refused(stage.anonymous(Method::POST, &path), "unauthenticated").await;
    // No longer than the key.
    let end_ms = stage.expire_key_in(5_000);
    let issued = expect(stage.post("/v1/tickets", ""), StatusCode::CREATED).await;
    assert_eq!(issued["expires_at_ms"], end_ms);
}

#[tokio::test]
async fn a_ticket_opens_one_stream_or_one_connection() {
    let stage = Stage::with(3, Options::default(), None).await;
    let ticket = ticket_of(&stage, &stage.key).await;
    let mut events = Events::accept(stream(&stage, &ticket, "a")).await;
    stage.publish("a", "x").await;
    assert_eq!(events.next().await.unwrap().json()["data"], "x");
    refused(stream(&stage, &ticket, "a"), "unauthenticated").await;
    assert_eq!(refused_with(socket(&stage, &ticket)).await, 401);

    let ticket = ticket_of(&stage, &stage.key).await;
    let mut peer = Peer::with(socket(&stage, &ticket)).await;
    peer.subscribe(1, &["a"], "earliest").await;
    assert_eq!(peer.records(1, 1).await[0]["data"], "x");
    assert_eq!(refused_with(socket(&stage, &ticket)).await, 401);
    refused(stream(&stage, &ticket, "a"), "unauthenticated").await;
}

#[tokio::test]
async fn a_connection_may_do_what_the_key_of_its_ticket_may() {
    let stage = Stage::open().await;
    let ticket = ticket_of(&stage, &stage.narrow_key).await;
    refused(stream(&stage, &ticket, "c"), "forbidden").await;
    let ticket = ticket_of(&stage, &stage.narrow_key).await;
    let mut peer = Peer::with(socket(&stage, &ticket)).await;
    let publish = json!({"type": "publish", "id": 1, "topic": "c", "data": 1});
    assert_eq!(peer.ask(publish).await["code"], "forbidden");
    // And it sees the topics of its project only.
    let ticket = ticket_of(&stage, &stage.strangers_key).await;
    stage.publish("a", "ours").await;
    let mut peer = Peer::with(socket(&stage, &ticket)).await;
    peer.subscribe(1, &["a"], "earliest").await;
    let publish = json!({"type": "publish", "id": 2, "topic": "a", "data": "theirs"});
    assert_eq!(peer.ask(publish).await["offset"], 0);
    assert_eq!(peer.records(1, 1).await[0]["data"], "theirs");
}

#[tokio::test]
async fn what_a_ticket_has_opened_ends_with_its_key() {
    let stage = Stage::open().await;
    let (first, second) = (
        ticket_of(&stage, &stage.key).await,
        ticket_of(&stage, &stage.key).await,
    );
    let unused = ticket_of(&stage, &stage.key).await;
    let mut events = Events::accept(stream(&stage, &first, "a")).await;
    let mut peer = Peer::with(socket(&stage, &second)).await;
    stage.revoke_keys();
    let error = events.next().await.unwrap();
    assert_eq!(error.json()["code"], "unauthenticated");
    assert_eq!(events.next().await, None);
    assert_eq!(peer.closed().await, 4401);
    refused(stream(&stage, &unused, "a"), "unauthenticated").await;
}

#[tokio::test]
async fn what_is_no_ticket_is_refused() {
    let stage = Stage::open().await;
    let elsewhere = Stage::open().await;
    let foreign = ticket_of(&elsewhere, &elsewhere.key).await;
    let ticket = ticket_of(&stage, &stage.key).await;
    let forged = match ticket.strip_suffix('A') {
        Some(rest) => format!("{rest}B"),
        None => format!("{}A", &ticket[..ticket.len() - 1]),
    };
    for text in ["", "x", &foreign, &forged, &stage.key] {
        refused(stream(&stage, text, "a"), "unauthenticated").await;
        assert_eq!(refused_with(socket(&stage, text)).await, 401, "{text}");
    }
    let twice = format!("/v1/sse?topic=a&ticket={ticket}&ticket={ticket}");
    refused(stage.anonymous(Method::GET, &twice), "invalid_request").await;
    let both = stream(&stage, &ticket, "a").bearer_auth(&stage.key);
    refused(both, "unauthenticated").await;
    // Nowhere else.
    let path = format!("/v1/messages/a?ticket={ticket}");
    refused(stage.anonymous(Method::GET, &path), "unauthenticated").await;
    Events::accept(stream(&stage, &ticket, "a")).await;
}

#[tokio::test]
async fn a_ticket_that_has_ended_is_refused() {
    let stage = Stage::ticking().await;
    stage.expire_key_in(1_000);
    let ticket = ticket_of(&stage, &stage.key).await;
    let end_ms = stage.expire_key_in(100_000) - 99_000;
    while (stage.clock)() <= end_ms {
        tokio::task::yield_now().await;
    }
    let problem = refused(stream(&stage, &ticket, "a"), "unauthenticated").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("the ticket has ended"), "{detail}");
}

#[tokio::test]
async fn a_page_that_may_not_use_a_ticket_leaves_it_unused() {
    let stage = Stage::open().await;
    let ticket = ticket_of(&stage, &stage.key).await;
    let foreign = stream(&stage, &ticket, "a").header("origin", "https://evil.example.org");
    refused(foreign, "forbidden").await;
    Events::accept(stream(&stage, &ticket, "a")).await;
}

#[tokio::test]
async fn a_browser_that_comes_back_by_itself_goes_on() {
    let stage = Stage::open().await;
    let ticket = ticket_of(&stage, &stage.key).await;
    let mut events = Events::accept(stream(&stage, &ticket, "a")).await;
    for number in 0..6 {
        stage.publish("a", &number.to_string()).await;
    }
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(events.next().await.unwrap().json()["data"].clone());
        // The connection breaks; the same address comes again, with the cookie and the last event's id.
        let (cookie, _) = cookie(events.response.headers());
        let again = stream(&stage, &ticket, "a")
            .header("cookie", format!("other=1; {cookie}"))
            .header("last-event-id", events.last_id());
        events = Events::accept(again).await;
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_cookie_is_worth_nothing_without_a_ticket_of_its_key() {
    let stage = Stage::open().await;
    let ticket = ticket_of(&stage, &stage.key).await;
    let events = Events::accept(stream(&stage, &ticket, "a")).await;
    let (cookie, _) = cookie(events.response.headers());
    let alone = stage.anonymous(Method::GET, "/v1/sse?topic=a");
    refused(alone.header("cookie", &cookie), "unauthenticated").await;
    let (_, resumption) = cookie.split_once('=').unwrap();
    refused(stream(&stage, resumption, "a"), "unauthenticated").await;
    // A ticket of another key that was used is not opened by it, whatever it is called.
    let other = ticket_of(&stage, &stage.narrow_key).await;
    let opened = Events::accept(stream(&stage, &other, "a/b")).await;
    let (others, _) = self::cookie(opened.response.headers());
    let (name, _) = others.split_once('=').unwrap();
    let renamed = format!("{name}={resumption}");
    for cookie in [&cookie, &renamed] {
        let request = stream(&stage, &other, "a/b").header("cookie", cookie);
        refused(request, "unauthenticated").await;
    }
    // A ticket is used up although there is a cookie.
    let fresh = ticket_of(&stage, &stage.key).await;
    Events::accept(stream(&stage, &fresh, "a").header("cookie", &cookie)).await;
    refused(stream(&stage, &fresh, "a"), "unauthenticated").await;
    stage.revoke_keys();
    let revoked = stream(&stage, &ticket, "a").header("cookie", cookie);
    refused(revoked, "unauthenticated").await;
}

#[tokio::test]
async fn a_cookie_is_kept_as_closely_as_its_page_allows() {
    let mut stage = Stage::open().await;
    stage.allow_origins(&["https://app.example.com", "http://localhost:3000"]);
    let common = "Path=/v1/sse; Max-Age=86400; HttpOnly; ";
    for (origin, scope) in [
        (None, "SameSite=Strict"),
        (Some("http://localhost:3000"), "SameSite=Strict"),
        (
            Some("https://app.example.com"),
            "Secure; SameSite=None; Partitioned",
        ),
    ] {
        let ticket = ticket_of(&stage, &stage.key).await;
        let mut request = stream(&stage, &ticket, "a");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let events = Events::accept(request).await;
        let (_, attributes) = cookie(events.response.headers());
        assert_eq!(attributes, format!("{common}{scope}"));
    }
    let with_key = Events::open(&stage, "topic=a").await;
    assert!(!with_key.response.headers().contains_key("set-cookie"));
}

/// What a browser has taken from a stream: the data of its records, and the id it goes on from. An event
/// that is not whole is none.
fn taken(text: &str) -> (Vec<Value>, String) {
    let (mut data, mut id) = (Vec::new(), String::new());
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    for event in whole.split("\n\n") {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        if let Some(text) = field("id: ") {
            text.clone_into(&mut id);
        }
        if field("event: ").is_none()
            && let Some(text) = field("data: ")
        {
            data.push(serde_json::from_str::<Value>(text).unwrap()["data"].clone());
        }
    }
    (data, id)
}

/// Reads a stream until so many records are whole.
async fn read(request: RequestBuilder, records: usize) -> (HeaderMap, String) {
    let mut response = within(request.send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut text = String::new();
    while taken(&text).0.len() < records {
        let chunk = within(response.chunk()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    (response.headers().clone(), text)
}

#[tokio::test]
async fn a_stream_that_is_cut_at_any_byte_goes_on_by_itself() {
    let stage = Stage::open().await;
    for data in ["one", "two", "three"] {
        stage.publish("a", data).await;
    }
    let ticket = ticket_of(&stage, &stage.key).await;
    let again = || stream(&stage, &ticket, "a&from=earliest");
    let (headers, text) = read(again(), 3).await;
    let (cookie, _) = cookie(&headers);
    for end in 0..=text.len() {
        let (mut seen, id) = taken(&text[..end]);
        let again = again()
            .header("cookie", &cookie)
            .header("last-event-id", id);
        let left = 3 - seen.len();
        let (_, rest) = read(again, left).await;
        seen.extend(taken(&rest).0);
        assert_eq!(seen, ["one", "two", "three"], "cut after {end} bytes");
    }
}
