//! The console: a web page that does for people what the REST interface does for programs.
//!
//! Its source is in `console/`, and what is built of it in `console/dist` is committed, so that nobody needs its tools to
//! build this crate (`make console` builds it anew). The page has no powers of its own: it sends the credential that its user
//! puts in with each request. For the live tail it goes to the nodes, by the addresses that the configuration names
//! (`console.nodes`), with short tokens that it has made.
//!
//! None of this is in the description of the interface.

use std::{io::Write as _, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
            CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY,
        },
    },
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::api::Api;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// What the page consists of, below its address.
const FILES: [(&str, &str, &[u8]); 4] = [
    ("", HTML, include_bytes!("../console/dist/index.html")),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../console/dist/console.js"),
    ),
    (
        "console.css",
        "text/css; charset=utf-8",
        include_bytes!("../console/dist/console.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("../console/dist/icon.svg"),
    ),
];

/// The page, whose live tail goes to these nodes.
pub fn pages(nodes: &[String]) -> Router<Arc<Api>> {
    let settings = json!({ "nodes": nodes }).to_string();
    let settings = ("settings.json", JSON, settings.as_bytes());
    let policy = policy(nodes);
    let to_page = || async { Redirect::temporary("/console/") };
    let router = Router::new()
        .route("/", get(to_page))
        .route("/console", get(to_page));
    let files = FILES.into_iter().chain([settings]);
    files.fold(router, |router, (name, kind, content)| {
        let file = Arc::new(File::new(kind, content, policy.clone()));
        let path = format!("/console/{name}");
        router.route(
            &path,
            get(async move |headers: HeaderMap| file.answer(&headers)),
        )
    })
}

/// Scripts and styles are the page's own files, and nobody but the control plane and the nodes is asked for anything.
fn policy(nodes: &[String]) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        nodes
            .iter()
            .map(|node| format!(" {node}"))
            .collect::<String>()
    );
    HeaderValue::try_from(policy).expect("addresses are checked when the configuration is read")
}

/// A file as it is sent: as it is, and packed for those who understand that, which is everybody.
struct File {
    kind: &'static str,
    plain: Representation,
    packed: Representation,
    policy: HeaderValue,
}

struct Representation {
    bytes: Bytes,
    /// Another one for each content, and for each way to send it.
    etag: HeaderValue,
}

impl File {
    fn new(kind: &'static str, content: &[u8], policy: HeaderValue) -> File {
        let plain = Bytes::copy_from_slice(content);
        File {
            kind,
            plain: Representation::new(plain),
            packed: Representation::new(packed(content)),
            policy,
        }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let is_packed = takes_gzip(asked);
        let sent = if is_packed { &self.packed } else { &self.plain };
        let mut response = match is_known(asked, &sent.etag) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => sent.bytes.clone().into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(ETAG, sent.etag.clone());
        for (name, value) in ALWAYS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if is_packed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// What is said of every file. It is asked for again each time, and sent only when it has changed.
const ALWAYS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-cache"),
    (VARY, "accept-encoding"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

impl Representation {
    fn new(bytes: Bytes) -> Representation {
        let hash = blake3::hash(&bytes).to_hex();
        let etag = HeaderValue::try_from(format!("\"{}\"", &hash[..32]));
        Representation {
            bytes,
            etag: etag.expect("digits are a header"),
        }
    }
}

fn packed(content: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.expect("memory takes every byte").into()
}

/// Whether a client understands gzip (RFC 9110, section 12.5.3).
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(ACCEPT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse() != Ok(0.0)
    })
}

/// Whether a client has this content already (RFC 9110, section 13.1.2).
fn is_known(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = asked.get_all(IF_NONE_MATCH).iter();
    let mut tags = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || etag == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that the page is, as it comes over the wire.
    #[test]
    fn the_page_is_small() {
        let sizes = FILES.map(|(_, _, content)| packed(content).len());
        let bytes: usize = sizes.into_iter().sum();
        assert!(bytes < 120_000, "{sizes:?}: {bytes} bytes");
    }

    #[test]
    fn what_a_client_understands_and_has_is_read_as_it_is_written() {
        let asked = |name: HeaderName, value: &str| {
            HeaderMap::from_iter([(name, HeaderValue::try_from(value).unwrap())])
        };
        for (value, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.2", true),
            ("gzip;q=0", false),
            ("gzip;q=0.0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&asked(ACCEPT_ENCODING, value)), takes, "{value}");
        }
        let etag = HeaderValue::from_static("\"a\"");
        for (value, is) in [
            ("\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(is_known(&asked(IF_NONE_MATCH, value), &etag), is, "{value}");
        }
    }
}
