//! A client of the control plane's REST interface: credentials, pages, safe repetition, and refusals as they are told
//! to people.

use std::time::Duration;

use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MATCH},
};
use serde_json::{Value, json};

use crate::{
    client::{Attempts, http},
    context::ControlPlane,
    exit::Exit,
    text::plain,
};

/// Items of one page.
const PAGE: usize = 500;
/// How often a change is begun anew because somebody else was faster.
const EDITS: usize = 8;

/// The interface, and who asks.
pub struct Api {
    client: Client,
    addresses: Vec<Url>,
    key: String,
    timeout: Duration,
}

/// A document, and its version.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The document; null when there is none.
    pub body: Value,
    /// What `If-Match` is to say.
    pub etag: Option<String>,
}

/// What is sent.
#[derive(Clone)]
struct Ask<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    body: Option<&'a Value>,
    if_match: Option<&'a str>,
    /// The same for every attempt, so that it is done once.
    idempotency_key: Option<String>,
    accept: &'static str,
}

impl<'a> Ask<'a> {
    fn new(method: Method, path: &'a str) -> Ask<'a> {
        Ask {
            method,
            path,
            query: &[],
            body: None,
            if_match: None,
            idempotency_key: None,
            accept: "application/json",
        }
    }
}

impl Api {
    /// At these addresses, which are tried for so long while none is able to answer.
    ///
    /// # Errors
    /// Without a credential, or with authorities that cannot be read.
    pub fn new(control_plane: ControlPlane, timeout: Duration) -> anyhow::Result<Api> {
        let missing = "no credential for the control plane: set HIGHWATER_ADMIN_KEY, say --admin-key-file, or \
             keep one with `highwater context set --admin-key-file -`. One that a context holds goes to that \
             context's own control planes only";
        let address = |address: &String| {
            let url = Url::parse(address.trim_end_matches('/'));
            url.map_err(|_| Exit::usage(format!("`{address}` is not an address")))
        };
        Ok(Api {
            client: http(control_plane.ca.as_deref())?,
            addresses: control_plane
                .addresses
                .iter()
                .map(address)
                .collect::<Result<_, _>>()?,
            key: control_plane
                .key
                .ok_or_else(|| Exit::unauthenticated(missing))?,
            timeout,
        })
    }

    /// A document.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(&Ask::new(Method::GET, path)).await
    }

    /// One page of a list, and the cursor of the next.
    pub async fn page(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<(Vec<Value>, Option<String>)> {
        let ask = Ask {
            query,
            ..Ask::new(Method::GET, path)
        };
        let mut page = self.ask(&ask).await?.body;
        let Value::Array(items) = page["items"].take() else {
            anyhow::bail!("the control plane answered without items; is that its address?");
        };
        Ok((items, page["next"].as_str().map(str::to_owned)))
    }

    /// All pages of a list.
    pub async fn list(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
        let limit = PAGE.to_string();
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = [query, &[("limit", limit.as_str())]].concat();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (items, next) = self.page(path, &query).await?;
            all.extend(items);
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Creates something, or has something done; once, however often it is sent.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let ask = Ask {
            body: Some(body),
            idempotency_key: Some(format!("{:032x}", rand::random::<u128>())),
            ..Ask::new(Method::POST, path)
        };
        self.ask(&ask).await
    }

    /// Changes what is named (RFC 7396), of this version if one is given.
    pub async fn patch(
        &self,
        path: &str,
        body: &Value,
        if_match: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let ask = Ask {
            body: Some(body),
            if_match,
            ..Ask::new(Method::PATCH, path)
        };
        self.ask(&ask).await
    }

    /// Replaces a document, of this version if one is given.
    pub async fn put(
        &self,
        path: &str,
        body: &Value,
        if_match: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let ask = Ask {
            body: Some(body),
            if_match,
            ..Ask::new(Method::PUT, path)
        };
        self.ask(&ask).await
    }

    /// Deletes something, of this version if one is given.
    pub async fn delete(&self, path: &str, if_match: Option<&str>) -> anyhow::Result<Answer> {
        let ask = Ask {
            if_match,
            ..Ask::new(Method::DELETE, path)
        };
        self.ask(&ask).await
    }

    /// Reads a document, changes it and writes it, all over again when it has changed meanwhile.
    pub async fn edit(
        &self,
        path: &str,
        mut change: impl FnMut(&mut Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<Value> {
        let mut edits = 1..=EDITS;
        loop {
            let read = self.get(path).await?;
            let mut is = read.body.clone();
            change(&mut is)?;
            if is == read.body {
                return Ok(is);
            }
            match self.put(path, &is, read.etag.as_deref()).await {
                Ok(answer) => return Ok(answer.body),
                Err(error) if is_changed(&error) && edits.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A document that is not JSON.
    pub async fn text(
        &self,
        path: &str,
        query: &[(&str, &str)],
        accept: &'static str,
    ) -> anyhow::Result<String> {
        let ask = Ask {
            query,
            accept,
            ..Ask::new(Method::GET, path)
        };
        Ok(self.response(&ask).await?.1)
    }

    async fn ask(&self, ask: &Ask<'_>) -> anyhow::Result<Answer> {
        let (etag, body) = self.response(ask).await?;
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&body).map_err(|_| {
                anyhow::anyhow!("what answers is no control plane: its answer is not JSON")
            })?,
        };
        Ok(Answer { body, etag })
    }

    /// Asks until there is an answer that a repetition would not change.
    async fn response(&self, ask: &Ask<'_>) -> anyhow::Result<(Option<String>, String)> {
        let mut attempts = Attempts::within(Some(self.timeout));
        // Whether an attempt may have done it although its answer did not say so.
        let mut in_doubt = false;
        loop {
            match self.attempt(attempts.server, ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) if in_doubt && ask.method == Method::DELETE && is_not_found(&error) => {
                    return Ok((None, String::new()));
                }
                Err(error) => {
                    let cause = error.downcast_ref::<reqwest::Error>();
                    in_doubt |= !cause.is_some_and(reqwest::Error::is_connect);
                    attempts.failed(error).await?;
                }
            }
        }
    }

    async fn attempt(
        &self,
        index: usize,
        ask: &Ask<'_>,
    ) -> anyhow::Result<(Option<String>, String)> {
        let address = &self.addresses[index % self.addresses.len()];
        let response = self.request(address, ask)?.send().await?;
        let status = response.status();
        let etag = header(&response, ETAG.as_str());
        let request_id = header(&response, "request-id");
        let body = response.text().await?;
        match status.is_success() {
            true => Ok((etag, body)),
            false => Err(refusal(status.as_u16(), &body, request_id).into()),
        }
    }

    fn request(&self, address: &Url, ask: &Ask<'_>) -> anyhow::Result<RequestBuilder> {
        let mut url = address.clone();
        // A control plane may be served below a path.
        let below = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{below}{}", ask.path));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(ask.query);
        }
        let request = self.client.request(ask.method.clone(), url);
        let mut request = request.bearer_auth(&self.key).header(ACCEPT, ask.accept);
        if let Some(body) = ask.body {
            let kind = match ask.method {
                Method::PATCH => "application/merge-patch+json",
                _ => "application/json",
            };
            request = request.header(CONTENT_TYPE, kind).body(body.to_string());
        }
        if let Some(version) = ask.if_match {
            request = request.header(IF_MATCH, version);
        }
        if let Some(key) = &ask.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        Ok(request)
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// A problem document (RFC 9457) as people are told it.
fn refusal(status: u16, body: &str, request_id: Option<String>) -> Exit {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().map(plain);
    let mut message = match (text("code"), text("detail")) {
        (Some(code), Some(detail)) => format!("{detail} ({code})"),
        _ => {
            let start: String = body.trim().chars().take(200).collect();
            format!("HTTP {status}: {}", plain(&start))
        }
    };
    if let Some(step) = text("next_step") {
        message += &format!("\n  what to do: {step}");
    }
    if let Some(id) = text("request_id").or(request_id) {
        message += &format!("\n  request: {id}");
    }
    let may_retry = problem["code"].is_string();
    let retryable = may_retry.then(|| !problem["retry_after_ms"].is_null());
    Exit::http(status, retryable, message)
}

/// Whether it says that something has changed since it was read.
pub fn is_changed(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(Exit::is_changed)
}

/// Whether it says that there is no such thing.
pub fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(Exit::is_not_found)
}

/// An object with those members that are something.
pub fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let mut object = json!({});
    for (name, value) in members {
        if let Some(value) = value {
            object[name] = value;
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_which_request_it_was() {
        let problem = json!({
            "type": "urn:highwater:error:already_exists", "title": "the name is taken", "status": 409,
            "code": "already_exists", "detail": "the tenant has a project with this name",
            "next_step": "choose another name", "request_id": "0193",
        });
        let told = refusal(409, &problem.to_string(), None).to_string();
        assert_eq!(
            told,
            "the tenant has a project with this name (already_exists)\n  what to do: choose another name\n  request: 0193"
        );
        let proxy = refusal(502, "<html>\u{1b}[2J", Some("r".into())).to_string();
        assert_eq!(proxy, "HTTP 502: <html>\\u{1b}[2J\n  request: r");
    }

    #[test]
    fn only_what_may_succeed_later_is_tried_again() {
        let problem =
            |retry: Value| json!({"code": "x", "detail": "y", "retry_after_ms": retry}).to_string();
        assert!(refusal(503, &problem(json!(1_000)), None).is_retryable());
        assert!(!refusal(409, &problem(Value::Null), None).is_retryable());
        assert!(refusal(503, "a proxy", None).is_retryable());
        assert!(refusal(412, &problem(Value::Null), None).is_changed());
    }
}
