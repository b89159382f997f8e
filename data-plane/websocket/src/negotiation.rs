//! What two endpoints agree on for permessage-deflate (RFC 7692 sections 5 and 7.1).
//!
//! The default is no context takeover in either direction. A window that is kept from one message to
//! the next is 32 KiB for each direction of each connection, twenty times what an idle connection may
//! cost; and a frame that refers to earlier ones of its connection could not be shared with others.

use crate::extensions::{self, Extension, Malformed};

/// The extension's name.
pub const NAME: &str = "permessage-deflate";
/// What our client offers.
pub const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// Smallest window that our compressor can keep to, as an exponent of two. The RFC also knows 8.
pub const WINDOW_BITS_MIN: u8 = 9;
/// Largest window of DEFLATE, and the one meant when none is named.
pub const WINDOW_BITS_MAX: u8 = 15;

/// What a server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether the client may refer to its earlier messages, if it wants to. It costs the server
    /// [`Policy::client_window_bits_max`] of memory for as long as the connection lasts.
    pub client_context_takeover: bool,
    /// The largest window for a client's messages, 9 to 15. Clients that do not say they could keep to
    /// it use 15.
    pub client_window_bits_max: u8,
    /// The smallest window that a client may ask the server to keep to, 9 to 15. With 15 one compressed
    /// frame serves all; offers that ask for less are declined.
    pub server_window_bits_min: u8,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            client_context_takeover: false,
            client_window_bits_max: WINDOW_BITS_MAX,
            server_window_bits_min: WINDOW_BITS_MAX,
        }
    }
}

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// Whether the server's messages may refer to earlier ones. [`crate::Deflater`]'s never do.
    pub server_context_takeover: bool,
    /// Whether the client's messages may refer to earlier ones.
    pub client_context_takeover: bool,
    server_window_bits: Option<u8>,
    client_window_bits: Option<u8>,
}

impl Agreement {
    /// The window that the server's messages keep to, as an exponent of two.
    pub fn server_window_bits(&self) -> u8 {
        self.server_window_bits.unwrap_or(WINDOW_BITS_MAX)
    }

    /// The window that the client's messages keep to, as an exponent of two.
    pub fn client_window_bits(&self) -> u8 {
        self.client_window_bits.unwrap_or(WINDOW_BITS_MAX)
    }

    /// The value of the response's `Sec-WebSocket-Extensions`.
    pub fn response(&self) -> String {
        let mut response = String::from(NAME);
        if !self.server_context_takeover {
            response.push_str("; server_no_context_takeover");
        }
        if !self.client_context_takeover {
            response.push_str("; client_no_context_takeover");
        }
        if let Some(bits) = self.server_window_bits {
            response.push_str(&format!("; server_max_window_bits={bits}"));
        }
        if let Some(bits) = self.client_window_bits {
            response.push_str(&format!("; client_max_window_bits={bits}"));
        }
        response
    }

    /// What a server's response says, for a client that offered [`OFFER`]. Nothing when it declined.
    pub fn from_response(header: &str) -> Result<Option<Agreement>, Malformed> {
        let mut extensions = extensions::parse(header);
        let Some(first) = extensions.next().transpose()? else {
            return Ok(None);
        };
        let parameters = Parameters::parse(&first).filter(|_| first.name == NAME);
        match (parameters, extensions.next()) {
            // The offer had no client_max_window_bits, so the response must not (section 7.1.2.2).
            (Some(parameters), None) if parameters.client_max_window_bits.is_none() => {
                Ok(Some(Agreement {
                    server_context_takeover: !parameters.server_no_context_takeover,
                    client_context_takeover: !parameters.client_no_context_takeover,
                    server_window_bits: parameters.server_max_window_bits,
                    client_window_bits: None,
                }))
            }
            _ => Err(Malformed),
        }
    }
}

/// Answers a client's offers, all values of its `Sec-WebSocket-Extensions` headers in order: with the
/// first that the policy can accept, or with nothing, and the connection is uncompressed.
pub fn negotiate<'a>(
    headers: impl IntoIterator<Item = &'a str>,
    policy: &Policy,
) -> Result<Option<Agreement>, Malformed> {
    let mut agreement = None;
    for header in headers {
        for extension in extensions::parse(header) {
            let extension = extension?;
            if agreement.is_none() && extension.name == NAME {
                agreement = Parameters::parse(&extension).and_then(|offer| accept(&offer, policy));
            }
        }
    }
    Ok(agreement)
}

fn accept(offer: &Parameters, policy: &Policy) -> Option<Agreement> {
    let server_bits_min = policy.server_window_bits_min.max(WINDOW_BITS_MIN);
    if offer
        .server_max_window_bits
        .is_some_and(|bits| bits < server_bits_min)
    {
        return None;
    }
    // Only a client that said it could be told a window may be told one. Naming the default is left out.
    let client_window_bits = offer
        .client_max_window_bits
        .map(|offered| offered.unwrap_or(WINDOW_BITS_MAX))
        .map(|offered| offered.min(policy.client_window_bits_max.max(WINDOW_BITS_MIN)))
        .filter(|bits| *bits < WINDOW_BITS_MAX);
    Some(Agreement {
        server_context_takeover: false,
        client_context_takeover: policy.client_context_takeover
            && !offer.client_no_context_takeover,
        // A parameter of the offer is accepted by repeating it.
        server_window_bits: offer.server_max_window_bits,
        client_window_bits,
    })
}

/// The parameters of one offer or response.
#[derive(Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Present, and with a value or, in offers, without.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// Nothing if a parameter is unknown, comes twice or has a value it cannot have (section 7.1).
    fn parse(extension: &Extension) -> Option<Parameters> {
        let mut parameters = Parameters::default();
        for parameter in extension.parameters() {
            let (name, value) = parameter.ok()?;
            let value = value.as_deref();
            let first = match name {
                "server_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                "server_max_window_bits" => {
                    let bits = window_bits(value?)?;
                    parameters.server_max_window_bits.replace(bits).is_none()
                }
                "client_max_window_bits" => {
                    let bits = match value {
                        Some(value) => Some(window_bits(value)?),
                        None => None,
                    };
                    parameters.client_max_window_bits.replace(bits).is_none()
                }
                _ => return None,
            };
            if !first {
                return None;
            }
        }
        Some(parameters)
    }
}

/// 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        _ => value
            .strip_prefix('1')
            .filter(|rest| rest.len() == 1)
            .and_then(|rest| rest.parse::<u8>().ok())
            .map(|rest| 10 + rest)
            .filter(|bits| *bits <= WINDOW_BITS_MAX),
    }
}
