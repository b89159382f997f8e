//! Refusals that have nothing to do with what was asked for.

use reqwest::{Method, StatusCode};

use crate::stage::{Stage, expect, refused, within};

#[tokio::test]
async fn a_request_without_a_valid_credential_is_refused() {
    let stage = Stage::open().await;
    let anonymous = || stage.anonymous(Method::GET, "/v1/messages/a");
    let problem = refused(anonymous(), "unauthenticated").await;
    assert_eq!(problem["type"], "urn:highwater:error:unauthenticated");
    refused(anonymous().bearer_auth("hw_nonsense"), "unauthenticated").await;
    refused(
        anonymous().basic_auth("user", Some(&stage.key)),
        "unauthenticated",
    )
    .await;
    refused(
        anonymous().bearer_auth("x".repeat(9_000)),
        "unauthenticated",
    )
    .await;
    let twice = anonymous().bearer_auth(&stage.key).bearer_auth(&stage.key);
    refused(twice, "unauthenticated").await;
    let response = within(anonymous().send()).await.unwrap();
    assert!(response.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn a_credential_in_the_address_is_refused_even_if_it_is_valid() {
    let stage = Stage::open().await;
    for name in ["access_token", "api_key", "token", "anything"] {
        let path = format!("/v1/messages/a?{name}={}", stage.key);
        refused(stage.get(&path), "unauthenticated").await;
    }
}

#[tokio::test]
async fn a_key_does_only_what_it_allows() {
    let stage = Stage::open().await;
    let narrow = |method, path| stage.anonymous(method, path).bearer_auth(&stage.narrow_key);
    let publish = narrow(Method::POST, "/v1/messages/a/c").body("x");
    expect(publish, StatusCode::CREATED).await;
    refused(
        narrow(Method::POST, "/v1/messages/b").body("x"),
        "forbidden",
    )
    .await;
    refused(narrow(Method::GET, "/v1/messages/a/c"), "forbidden").await;
    refused(narrow(Method::GET, "/v1/messages?topic=a/%23"), "forbidden").await;
    expect(narrow(Method::GET, "/v1/messages/a/b"), StatusCode::OK).await;
}

#[tokio::test]
async fn unknown_paths_methods_and_parameters_are_refused() {
    let stage = Stage::open().await;
    for path in ["/", "/v1", "/v1/messages/", "/v2/messages/a", "/v1/nothing"] {
        refused(stage.get(path), "unsupported").await;
    }
    let response = within(stage.request(Method::PUT, "/v1/messages/a").send())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(
        response.headers()["allow"]
            .to_str()
            .unwrap()
            .contains("POST")
    );
    for path in [
        "/v1/messages/a?form=latest",
        "/v1/messages/a?from=latest&from=earliest",
        "/v1/messages/a?from=yesterday",
        "/v1/messages/a?limit=many",
        "/v1/messages/a?wait=long",
        "/v1/messages/a?topic=b",
        "/v1/messages",
        "/v1/messages?from=earliest",
        "/v1/topics?x",
    ] {
        refused(stage.get(path), "invalid_request").await;
    }
    refused(stage.post("/v1/messages/a?ttl=5", "x"), "invalid_request").await;
    refused(stage.get("/v1/messages?topic=a/%23/b"), "invalid_topic").await;
}

#[tokio::test]
async fn more_routes_can_be_served_on_the_same_port() {
    let stage = Stage::open().await;
    let routes = axum::Router::new().route("/livez", axum::routing::get(|| async { "alive" }));
    let gateway = stage.gateway.clone().with_routes(routes);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = stage.shutdown.clone();
    let asking = async {
        let get = |path: &str| reqwest::get(format!("http://{address}{path}"));
        assert_eq!(
            within(get("/livez")).await.unwrap().text().await.unwrap(),
            "alive"
        );
        assert_eq!(
            within(get("/readyz")).await.unwrap().status(),
            StatusCode::NOT_FOUND
        );
        stop.cancel();
    };
    let (served, ()) = tokio::join!(gateway.serve(listener, None, stop.clone()), asking);
    served.unwrap();
}
