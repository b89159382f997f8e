//! A client of event streams as the standard describes one (WHATWG HTML, section 9.2.6).

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::stage::{Stage, within};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

pub struct Events {
    pub response: Response,
    unread: String,
    id: String,
    /// The last `retry` field.
    pub retry_ms: Option<u64>,
    pub comments: usize,
    /// Where the credential is renewed.
    pub refresh: String,
}

impl Events {
    /// Opens a stream, and expects its receipt.
    pub async fn open(stage: &Stage, query: &str) -> Events {
        Events::resume(stage, query, None).await
    }

    /// The same with the id of the last event that was seen.
    pub async fn resume(stage: &Stage, query: &str, last_id: Option<&str>) -> Events {
        let mut request = stage.get(&format!("/v1/sse?{query}"));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        Events::accept(request).await
    }

    /// Sends a request for a stream, and expects its receipt.
    pub async fn accept(request: RequestBuilder) -> Events {
        let response = within(request.send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut events = Events {
            response,
            unread: String::new(),
            id: String::new(),
            retry_ms: None,
            comments: 0,
            refresh: String::new(),
        };
        let receipt = events.next().await.unwrap();
        assert_eq!(receipt.name, "subscribed");
        assert_eq!(receipt.json()["cursor"], receipt.id.as_str());
        receipt.json()["refresh"]
            .as_str()
            .unwrap()
            .clone_into(&mut events.refresh);
        events
    }

    /// The cursor that a browser would go on from.
    pub fn last_id(&self) -> &str {
        &self.id
    }

    /// The next event, or nothing when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut has_data = false;
        while let Some(line) = self.line().await {
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if !line.is_empty() => self.comments += 1,
                "" if has_data => {
                    event.id.clone_from(&self.id);
                    return Some(event);
                }
                "" => event = Event::default(),
                "event" => event.name = value.to_owned(),
                "id" => self.id = value.to_owned(),
                "retry" => self.retry_ms = Some(value.parse().unwrap()),
                "data" => {
                    if has_data {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                    has_data = true;
                }
                other => panic!("there is no field {other}"),
            }
        }
        None
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.find('\n') {
                let line = self.unread[..end].to_owned();
                self.unread.drain(..=end);
                return Some(line);
            }
            let chunk = within(self.response.chunk()).await.unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
