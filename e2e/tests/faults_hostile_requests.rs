//! Requests that are wrong get the answer of the one error table, over HTTP and gRPC, and harm nobody.

use highwater_e2e::{Cluster, client::request};
use highwater_proto::{
    ErrorCode,
    client::{PublishRequest, PublishStreamRequest},
    limits::{PAYLOAD_BYTES_MAX, TOPIC_NAME_BYTES_MAX},
};
use reqwest::{Method, RequestBuilder};
use tonic::{Code, Status};

/// Checks the status and the code an HTTP request is answered with.
async fn refused(what: &str, request: RequestBuilder, expected: ErrorCode) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.text().await.unwrap();
    assert_eq!(status, expected.http_status(), "{what}: {body}");
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["code"], expected.name(), "{what}: {body}");
}

/// Checks the canonical code and the reason a gRPC request is answered with.
fn refused_status<T: std::fmt::Debug>(what: &str, answer: Result<T, Status>, expected: ErrorCode) {
    let status = answer.expect_err(what);
    assert_eq!(
        status.code(),
        Code::from(expected.grpc_code()),
        "{what}: {status}"
    );
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(details.contains(expected.name()), "{what}: {status:?}");
}

async fn start() -> Cluster {
    Cluster::start().await
}

async fn still_serves(cluster: &Cluster) {
    for node in 0..cluster.size() {
        let client = cluster.client(node);
        client.publish("still/serves", "p#0").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_topics_and_payloads_are_refused_by_name() {
    let cluster = start().await;
    let client = cluster.client(0);
    let long = "x".repeat(TOPIC_NAME_BYTES_MAX + 1);
    for topic in ["", "a/+", "#", "a/#/b", "a\0b", "$SYS/x", &long] {
        let answer = client.publish(topic, "x").await;
        refused_status(&format!("topic {topic:?}"), answer, ErrorCode::InvalidTopic);
    }
    for filter in ["", "a#", "#/a", "a/+b", &long] {
        let answer = client.read(filter, "earliest", 1).await;
        refused_status(
            &format!("filter {filter:?}"),
            answer,
            ErrorCode::InvalidTopic,
        );
    }
    let large = vec![b'x'; PAYLOAD_BYTES_MAX + 1];
    let answer = client.publish("large", large.clone()).await;
    refused_status("payload", answer, ErrorCode::PayloadTooLarge);
    let largest = vec![b'x'; PAYLOAD_BYTES_MAX];
    client.publish("large", largest).await.unwrap();

    let post = |path: &str| {
        let request = cluster.http().post(cluster.url(1, path));
        request.bearer_auth(cluster.key())
    };
    let code = ErrorCode::InvalidTopic;
    refused("wildcard", post("/v1/messages/a/%2B").body("x"), code).await;
    refused("NUL", post("/v1/messages/a%00b").body("x"), code).await;
    refused("system", post("/v1/messages/$SYS/x").body("x"), code).await;
    let code = ErrorCode::PayloadTooLarge;
    refused("payload", post("/v1/messages/large").body(large), code).await;
    let code = ErrorCode::InvalidRequest;
    refused("not JSON", post("/v1/messages").body("{"), code).await;
    let unknown = r#"{"messages":[{"topic":"a","data":"x","colour":"red"}]}"#;
    let unknown = post("/v1/messages").body(unknown);
    let unknown = unknown.header("content-type", "application/json");
    refused("unknown field", unknown, code).await;
    still_serves(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_open_nothing() {
    let cluster = start().await;
    let code = ErrorCode::Unauthenticated;
    let mut wrong = cluster.key().to_owned();
    wrong.pop();
    for key in ["", "hw_", "x", &wrong, &"k".repeat(20_000)] {
        let get = cluster.http().get(cluster.url(0, "/v1/messages/a"));
        refused(
            &format!("key of {} bytes", key.len()),
            get.bearer_auth(key),
            code,
        )
        .await;
    }
    let none = cluster.http().get(cluster.url(0, "/v1/messages/a"));
    refused("no key", none, code).await;
    let query = format!("/v1/messages/a?key={}", cluster.key());
    let get = cluster
        .http()
        .get(cluster.url(0, &query))
        .send()
        .await
        .unwrap();
    assert!(
        get.status().is_client_error(),
        "a key in the query is refused"
    );

    let client = highwater_e2e::Client::new(cluster.address(0), &wrong);
    refused_status("publish", client.publish("a", "x").await, code);
    refused_status("read", client.read("a", "earliest", 1).await, code);
    assert!(client.subscribe(&["a"], "latest").await.is_err());
    still_serves(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_foreign_cursors_are_errors_and_show_nothing() {
    let cluster = start().await;
    let client = cluster.client(0);
    let own = client.publish("own", "p#0").await.unwrap().cursor;
    client.publish("other", "p#0").await.unwrap();
    let foreign = cluster.client_of(1, 1);
    let theirs = foreign.publish("own", "secret#0").await.unwrap().cursor;

    let read = async |cursor: &str| client.read("own", &format!("cursor:{cursor}"), 10).await;
    assert!(read(&own).await.is_ok());
    refused_status(
        "another project's",
        read(&theirs).await,
        ErrorCode::CursorForeign,
    );
    let answer = client.read("other", &format!("cursor:{own}"), 10).await;
    refused_status("another topic's", answer, ErrorCode::CursorForeign);
    // Every single character matters.
    for at in 0..own.len() {
        let mut forged = own.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        let status = read(&forged).await.expect_err("a forged cursor");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    for garbage in ["", "x", "AAAA", "%%%", &"A".repeat(100_000)] {
        let status = read(garbage).await.expect_err("garbage");
        assert!(
            matches!(status.code(), Code::InvalidArgument | Code::OutOfRange),
            "{status}"
        );
    }
    for from in ["yesterday", "last:-1", "last:x", "time:x", "cursor"] {
        let answer = client.read("own", from, 10).await;
        refused_status(from, answer, ErrorCode::InvalidRequest);
    }
    still_serves(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_and_what_no_longer_holds_is_said() {
    let cluster = start().await;
    let client = cluster.client(2);
    let first = client.publish("cas", "p#0").await.unwrap();
    let mut append = request("cas", "p#1", "");
    append.if_cursor = first.cursor.clone();
    client.publish_request(append.clone()).await.unwrap();
    let again = client.publish_request(append).await;
    refused_status("compare and append", again, ErrorCode::PreconditionFailed);

    let call = |method: Method, path: &str| {
        let request = cluster.http().request(method, cluster.url(0, path));
        request.bearer_auth(cluster.key())
    };
    let post = call(Method::POST, "/v1/messages/cas").header("if-match", &first.cursor);
    refused("If-Match", post.body("x"), ErrorCode::PreconditionFailed).await;
    for (method, path) in [
        (Method::GET, "/v2/messages"),
        (Method::GET, "/"),
        (Method::DELETE, "/v1/topics/none/such"),
    ] {
        let response = call(method, path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 404, "{path}");
    }
    still_serves(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_request_that_unfolds_to_many_messages_is_refused_before_it_does() {
    let cluster = start().await;
    // Two bytes each on the wire.
    let request = PublishStreamRequest {
        publishes: vec![PublishRequest::default(); 1_000_000],
    };
    let mut grpc = cluster.client(0).grpc();
    let stream = tokio_stream::iter([request]);
    let answer = async {
        let mut outcomes = grpc.publish_stream(stream).await?.into_inner();
        outcomes.message().await
    };
    let expected = ErrorCode::PayloadTooLarge;
    refused_status("a million empty publishes", answer.await, expected);
    still_serves(&cluster).await;
}
