//! The opening handshake: whether a request opens a WebSocket, and the answer (RFC 6455 section 4.2,
//! RFC 8441 over HTTP/2).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use sha1::{Digest, Sha1};

use crate::{
    extensions::{Malformed, is_token},
    negotiation::{self, Agreement, Policy},
};

/// The version of the protocol, to be named in a refusal for another one.
pub const VERSION: &str = "13";
/// Bytes of a key before encoding.
pub const KEY_BYTES: usize = 16;

const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Stray bits in the last character are let pass: clients that draw the characters instead of the bytes
/// leave some, and the key is only ever hashed as it stands.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// What the handshake needs of a request. `Host`, the path and `Origin` are the caller's.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// How it asks.
    pub opening: Opening<'a>,
    /// `Sec-WebSocket-Version`.
    pub version: Option<&'a str>,
    /// The values of all `Sec-WebSocket-Protocol` headers.
    pub subprotocols: &'a [&'a str],
    /// The values of all `Sec-WebSocket-Extensions` headers.
    pub extensions: &'a [&'a str],
}

/// The two ways to open a WebSocket.
#[derive(Debug, Clone, Copy)]
pub enum Opening<'a> {
    /// A request of HTTP/1.1.
    Upgrade {
        /// The request's method.
        method: &'a str,
        /// The values of all `Upgrade` headers.
        upgrade: &'a [&'a str],
        /// The values of all `Connection` headers.
        connection: &'a [&'a str],
        /// `Sec-WebSocket-Key`.
        key: Option<&'a str>,
    },
    /// A CONNECT of HTTP/2 with `:protocol` `websocket`, which has no key (RFC 8441 section 5).
    ExtendedConnect,
}

/// What goes into the response: status 101 over HTTP/1.1, 200 over HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// `Sec-WebSocket-Accept`, over HTTP/1.1.
    pub accept: Option<String>,
    /// `Sec-WebSocket-Protocol`, if any was asked for that is spoken.
    pub subprotocol: Option<&'a str>,
    /// What [`Agreement::response`] of `Sec-WebSocket-Extensions` says, if anything.
    pub agreement: Option<Agreement>,
}

/// Why a request opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a GET.
    #[error("method must be get")]
    Method,
    /// No upgrade to `websocket`.
    #[error("request must ask for an upgrade to websocket")]
    Upgrade,
    /// A key that is missing or does not encode 16 bytes.
    #[error("sec-websocket-key must be 16 bytes in base64")]
    Key,
    /// Not version 13.
    #[error("sec-websocket-version must be 13")]
    Version,
    /// A subprotocol that is no token.
    #[error("sec-websocket-protocol is malformed")]
    Subprotocol,
    /// Extensions that cannot be parsed.
    #[error(transparent)]
    Extensions(#[from] Malformed),
}

impl Refusal {
    /// The HTTP status. With 426 goes `Sec-WebSocket-Version: 13`, and `Upgrade: websocket`.
    pub fn status(self) -> u16 {
        match self {
            Refusal::Method => 405,
            Refusal::Upgrade | Refusal::Version => 426,
            Refusal::Key | Refusal::Subprotocol | Refusal::Extensions(_) => 400,
        }
    }
}

/// Answers a request. Of the subprotocols it names, the first that is among `spoken` is chosen.
pub fn answer<'a>(
    request: &Request<'_>,
    spoken: &[&'a str],
    policy: &Policy,
) -> Result<Answer<'a>, Refusal> {
    let accept = match request.opening {
        Opening::ExtendedConnect => None,
        Opening::Upgrade {
            method,
            upgrade,
            connection,
            key,
        } => {
            if method != "GET" {
                return Err(Refusal::Method);
            }
            if !lists(upgrade, "websocket") || !lists(connection, "upgrade") {
                return Err(Refusal::Upgrade);
            }
            let key = key.ok_or(Refusal::Key)?;
            check_key(key)?;
            Some(accept_key(key))
        }
    };
    if request.version != Some(VERSION) {
        return Err(Refusal::Version);
    }
    Ok(Answer {
        accept,
        subprotocol: choose_subprotocol(request.subprotocols, spoken)?,
        agreement: negotiation::negotiate(request.extensions.iter().copied(), policy)?,
    })
}

/// `Sec-WebSocket-Accept` for a key: proof that the server knows this protocol.
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update(ACCEPT_SUFFIX)
        .finalize();
    STANDARD.encode(digest)
}

/// A client's `Sec-WebSocket-Key` from 16 random bytes.
pub fn key(nonce: [u8; KEY_BYTES]) -> String {
    STANDARD.encode(nonce)
}

/// Whether a key encodes 16 bytes.
pub fn check_key(key: &str) -> Result<(), Refusal> {
    // Room for the 18 bytes that 24 characters could be at most.
    let mut nonce = [0; KEY_BYTES + 2];
    match KEY_BASE64.decode_slice(key, &mut nonce) {
        Ok(KEY_BYTES) => Ok(()),
        _ => Err(Refusal::Key),
    }
}

/// The first of the client's subprotocols that is spoken. Their order is its preference (section 4.1).
pub fn choose_subprotocol<'a>(
    headers: &[&str],
    spoken: &[&'a str],
) -> Result<Option<&'a str>, Refusal> {
    let mut chosen = None;
    for offered in elements(headers) {
        if !is_token(offered) {
            return Err(Refusal::Subprotocol);
        }
        // A subprotocol named twice is against the RFC and harms nobody.
        chosen = chosen.or_else(|| spoken.iter().copied().find(|spoken| *spoken == offered));
    }
    Ok(chosen)
}

fn lists(headers: &[&str], wanted: &str) -> bool {
    elements(headers).any(|element| element.eq_ignore_ascii_case(wanted))
}

fn elements<'a>(headers: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .flat_map(|header| header.split(','))
        .map(|element| element.trim_matches([' ', '\t']))
        .filter(|element| !element.is_empty())
}
