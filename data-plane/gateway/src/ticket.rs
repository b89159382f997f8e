//! Tickets: what a browser brings in the address of `/v1/sse` or `/v1/ws`, since its `EventSource` and
//! `WebSocket` cannot send a header, and a long-lived credential must not stand in an address.
//!
//! `POST /v1/tickets` with a key gives one. It is good for half a minute and for one connection, on
//! whichever node of the cluster; the connection may then do what the key may, and ends with it. A ticket that
//! was used, has ended or is none is `unauthenticated`, before anything is streamed or upgraded.
//!
//! A native `EventSource` comes back by itself, with the same address, and so with a ticket that was used. Its
//! stream must go on all the same, from the `Last-Event-ID`. What says that it is the same browser is a
//! cookie, which the response that the ticket opened has set: it is kept from scripts (`HttpOnly`), is
//! sent to `/v1/sse` alone, and holds a resumption, sealed as a ticket is, that is good for a day
//! from each time the stream is opened, and no longer than the key. Neither is good alone: the cookie
//! opens nothing without an address that holds a ticket of the same key, so no other page profits from a
//! browser that sends it; and an address that was read in a log is worth nothing without the cookie. The last
//! event's id is no such proof: cursors are passed around.
//!
//! For a page of another origin the browser takes and sends cookies only if it is asked to
//! (`new EventSource(url, {withCredentials: true})`), and its user allows it. Where there is no cookie, the
//! answer to the second use is 401, at which an `EventSource` gives up and tells its page; the page gets
//! another ticket and opens the stream with `from=cursor:<id of the last event>`.
//!
//! WebSockets have no such second life: whoever opens one again is a script, which can get a ticket.

use highwater_broker::{
    Refusal, Result,
    catalogue::Principal,
    ticket::{Kind, Ticket},
};
use highwater_proto::{
    ErrorCode,
    ids::KeyId,
    limits::{RESUMPTION_MS, TICKET_MS},
};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE, ORIGIN},
};
use tokio::time::timeout;

use crate::{gateway::Door, metrics::Protocol, page::Page, session::Session};

/// A new ticket or resumption of a principal, and until when it is good.
///
/// # Errors
/// `forbidden` for the bearer of a token.
pub fn issue(door: &Door, principal: &Principal, kind: Kind) -> Result<(String, u64)> {
    let key = principal.key().ok_or_else(|| {
        let message = "tickets are made with an API key, by the page's own backend";
        Refusal::new(ErrorCode::Forbidden, message)
    })?;
    let lifetime_ms = match kind {
        Kind::Ticket => TICKET_MS,
        Kind::Resumption => RESUMPTION_MS,
    };
    let ends_at_ms = (door.clock)().saturating_add(lifetime_ms);
    let ticket = Ticket {
        kind,
        key,
        nonce: rand::random(),
        ends_at_ms: ends_at_ms.min(principal.expires_at_ms.unwrap_or(u64::MAX)),
    };
    let text = door.broker.seal_ticket(principal, &ticket);
    Ok((text, ticket.ends_at_ms))
}

/// Opens a WebSocket's session with the ticket in its address, and uses it up.
///
/// # Errors
/// `unauthenticated` when it is not valid, was used or has ended; `forbidden` for a page that its project does
/// not allow; those of a publish.
pub async fn open(door: &Door, headers: &HeaderMap, text: &str) -> Result<Session> {
    let (session, ticket) = read(door, Protocol::WebSocket, headers, text)?;
    use_up(door, &ticket).await?;
    Ok(session)
}

/// The same for an event stream, which may be opened again with the cookie that is given beside the session.
///
/// # Errors
/// Those of [`open`], unless the request has the cookie of an earlier one.
pub async fn open_stream(
    door: &Door,
    headers: &HeaderMap,
    is_tls: bool,
    text: &str,
) -> Result<(Session, HeaderValue)> {
    let (session, ticket) = read(door, Protocol::Sse, headers, text)?;
    // Used up even where it is not needed, so that nobody else can.
    let used = use_up(door, &ticket).await;
    if !may_resume(door, headers, ticket.key) {
        used?;
    }
    let cookie = cookie(door, headers, is_tls, (ticket.key, session.principal()))?;
    Ok((session, cookie))
}

fn read(
    door: &Door,
    protocol: Protocol,
    headers: &HeaderMap,
    text: &str,
) -> Result<(Session, Ticket)> {
    if headers.contains_key(AUTHORIZATION) {
        return Err(refuse("the request has a ticket and another credential"));
    }
    let mut ticket = None;
    let session = Session::begin(door, protocol, Page::of(headers), || {
        let now_ms = (door.clock)();
        let (read, principal) = door.broker.open_ticket(Kind::Ticket, text, now_ms)?;
        ticket = Some(read);
        Ok(principal)
    })?;
    Ok((session, ticket.expect("it was read")))
}

async fn use_up(door: &Door, ticket: &Ticket) -> Result<()> {
    if ticket.ends_at_ms <= (door.clock)() {
        return Err(refuse("the ticket has ended; get another one"));
    }
    let used = timeout(door.options.publish_timeout, door.broker.use_ticket(ticket)).await;
    let late = |_| {
        let message = "whether the ticket was used before was not known in time; get another one";
        Refusal::new(ErrorCode::Unavailable, message)
    };
    match used.map_err(late)?? {
        true => Ok(()),
        false => Err(refuse("the ticket was used before; get another one")),
    }
}

fn refuse(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, message)
}

/// Whether the browser has the cookie of a stream that a ticket of this key has opened.
fn may_resume(door: &Door, headers: &HeaderMap, key: KeyId) -> bool {
    let now_ms = (door.clock)();
    let is_good = |text: &str| {
        let opened = door.broker.open_ticket(Kind::Resumption, text, now_ms);
        opened.is_ok_and(|(resumption, _)| resumption.key == key && now_ms < resumption.ends_at_ms)
    };
    let name = cookie_name(key);
    let cookies = headers.get_all(COOKIE).iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    // One browser may have two of a name: its own, and one that is kept for pages of another site.
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(name.as_str())?.strip_prefix('='))
        .any(is_good)
}

/// One for each key, so that a browser has few however many streams it opens.
fn cookie_name(key: KeyId) -> String {
    format!("highwater_{key}")
}

fn cookie(
    door: &Door,
    headers: &HeaderMap,
    is_tls: bool,
    (key, principal): (KeyId, &Principal),
) -> Result<HeaderValue> {
    let (text, _) = issue(door, principal, Kind::Resumption)?;
    let name = cookie_name(key);
    let seconds = RESUMPTION_MS / 1_000;
    let is_of_secure_page = |origin: &HeaderValue| origin.as_bytes().starts_with(b"https://");
    let scope = match headers.get(ORIGIN) {
        // A page of another site has a jar of its own for them (CHIPS), where it has any.
        Some(origin) if is_of_secure_page(origin) => "; Secure; SameSite=None; Partitioned",
        _ if is_tls => "; Secure; SameSite=Strict",
        _ => "; SameSite=Strict",
    };
    let cookie = format!("{name}={text}; Path=/v1/sse; Max-Age={seconds}; HttpOnly{scope}");
    Ok(HeaderValue::try_from(cookie).expect("base64 is a header's text"))
}
