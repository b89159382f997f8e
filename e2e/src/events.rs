//! A client of event streams, which reads them as the standard says (WHATWG HTML, section 9.2.6).

use anyhow::{Context, Result, anyhow, bail, ensure};
use reqwest::{RequestBuilder, Response, Url};
use serde_json::Value;

use crate::refusal::{Refusal, ended};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Empty for a record.
    pub name: String,
    /// The cursor after it.
    pub id: String,
    /// Its lines of data, joined.
    pub data: String,
}

impl Event {
    /// The data as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.data).with_context(|| format!("{self:?} is no JSON"))
    }
}

/// A stream that has its receipt.
#[derive(Debug)]
pub struct Events {
    response: Response,
    lines: Lines,
    /// The id of the last event, which a browser goes on from.
    id: String,
}

impl Events {
    /// Opens a stream at `host:port`, and waits for the receipt. From a cursor it goes on as a browser
    /// does: the address stays as it was, and the id of the last event comes with it.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn open(
        http: &reqwest::Client,
        (address, key): (&str, &str),
        topics: &[&str],
        from: &str,
    ) -> Result<Events> {
        let cursor = from.strip_prefix("cursor:");
        let mut url = Url::parse(&format!("http://{address}/v1/sse"))?;
        for topic in topics {
            url.query_pairs_mut().append_pair("topic", topic);
        }
        let from = if cursor.is_some() { "latest" } else { from };
        url.query_pairs_mut().append_pair("from", from);
        let mut request = http.get(url).bearer_auth(key);
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        Events::of(request).await
    }

    /// Sends a request for a stream, and waits for the receipt.
    ///
    /// # Errors
    /// The refusal, or what became of the connection.
    pub async fn of(request: RequestBuilder) -> Result<Events> {
        let mut events = Events {
            response: accepted(request.send().await?).await?,
            lines: Lines::default(),
            id: String::new(),
        };
        let receipt = events.next().await?.ok_or_else(ended)?;
        ensure!(receipt.name == "subscribed", "{receipt:?} is no receipt");
        ensure!(receipt.json()?["cursor"] == receipt.id, "{receipt:?}");
        Ok(events)
    }

    /// The cursor of the last event.
    pub fn cursor(&self) -> &str {
        &self.id
    }

    /// A header of the response, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap_or_default())
    }

    /// The next event, or nothing when the stream has ended.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no event.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        let mut event = Event::default();
        let mut has_data = false;
        while let Some(line) = self.line().await? {
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                // A comment, or the end of an event.
                "" if !line.is_empty() => {}
                "" if has_data => {
                    event.id.clone_from(&self.id);
                    return Ok(Some(event));
                }
                "" => event = Event::default(),
                "event" => event.name = value.to_owned(),
                "id" => self.id = value.to_owned(),
                "retry" => {
                    value.parse::<u64>()?;
                }
                "data" => {
                    if has_data {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                    has_data = true;
                }
                other => bail!("there is no field {other}"),
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(line) = self.lines.next()? {
                return Ok(Some(line));
            }
            match self.response.chunk().await? {
                None => return Ok(None),
                Some(chunk) => self.lines.0.extend_from_slice(&chunk),
            }
        }
    }
}

/// A response of success, or the refusal it brings.
///
/// # Errors
/// The refusal.
pub async fn accepted(response: Response) -> Result<Response> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, text) = (response.status(), response.text().await?);
    match serde_json::from_str::<Refusal>(&text) {
        Ok(refusal) => Err(refusal.into()),
        Err(_) => Err(anyhow!("{status} without a problem document: {text:?}")),
    }
}

/// What has arrived and was not read yet. The service ends its lines with a line feed.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn next(&mut self) -> Result<Option<String>> {
        let Some(end) = self.0.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let rest = self.0.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.0, rest);
        line.pop();
        Ok(Some(String::from_utf8(line)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_however_it_arrives() {
        let mut lines = Lines::default();
        let mut read = Vec::new();
        for byte in "id: ä\n\ndata: 1".bytes() {
            lines.0.push(byte);
            read.extend(lines.next().unwrap());
        }
        assert_eq!(read, ["id: ä", ""]);
    }
}
