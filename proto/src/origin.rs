//! Which web pages may use a project from their own place: origins (RFC 6454), and patterns of them.
//!
//! | pattern | allows |
//! |---|---|
//! | `https://app.example.com` | this origin; with the default port of its scheme |
//! | `https://*.example.com` | every host below `example.com`, but not itself |
//! | `http://localhost:*` | this host with any port |
//! | `*` | every page there is |

use crate::limits::ORIGIN_BYTES_MAX;

/// What a project allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every origin, those without a name (`null`) too.
    Any,
    /// Those of a scheme, a host and a port.
    Of {
        /// `http` or `https`.
        scheme: String,
        /// A host, or where `below` is set, the domain that it must lie in.
        host: String,
        /// Whether hosts below the domain are meant.
        below: bool,
        /// The port, or any.
        port: Option<u16>,
    },
}

/// A text that is no pattern of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is like https://app.example.com, https://*.example.com, http://localhost:* or *"
)]
pub struct OriginError;

impl TryFrom<&str> for OriginPattern {
    type Error = OriginError;

    fn try_from(text: &str) -> Result<OriginPattern, OriginError> {
        if text == "*" {
            return Ok(OriginPattern::Any);
        }
        let (text, any_port) = match text.strip_suffix(":*") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (text, below) = match text.split_once("://*.") {
            Some((scheme, domain)) => (format!("{scheme}://{domain}"), true),
            None => (text.to_owned(), false),
        };
        let Origin { scheme, host, port } = Origin::parse(&text).ok_or(OriginError)?;
        // Nobody means all of a top-level domain, nor addresses by their last bytes.
        let is_domain = host.contains('.') && !host.ends_with(|c: char| c.is_ascii_digit());
        match below && !is_domain {
            true => Err(OriginError),
            false => Ok(OriginPattern::Of {
                scheme: scheme.to_owned(),
                host: host.to_owned(),
                below,
                port: (!any_port).then_some(port),
            }),
        }
    }
}

impl OriginPattern {
    /// Whether it allows an origin, as a browser sends it.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            OriginPattern::Any => true,
            OriginPattern::Of {
                scheme,
                host,
                below,
                port,
            } => Origin::parse(origin).is_some_and(|origin| {
                let is_host = match below {
                    false => origin.host == host,
                    true => {
                        let inside = origin.host.strip_suffix(host.as_str());
                        inside.is_some_and(|name| name.len() > 1 && name.ends_with('.'))
                    }
                };
                is_host && origin.scheme == scheme && port.is_none_or(|port| origin.port == port)
            }),
        }
    }
}

/// An origin taken apart.
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
}

impl Origin<'_> {
    /// Browsers write origins in one way only (RFC 6454, section 6.2): in lower case, and with nothing
    /// behind the port. Other texts are none.
    fn parse(text: &str) -> Option<Origin<'_>> {
        let (scheme, rest) = text.split_once("://")?;
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        // The colons of an IPv6 address are within its brackets.
        let after_host = rest.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match rest[after_host..].rfind(':') {
            None => (rest, default_port),
            Some(at) => {
                let (host, port) = rest.split_at(after_host + at);
                (host, port[1..].parse().ok()?)
            }
        };
        let is_host =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_[]:".contains(c);
        let is_origin =
            text.len() <= ORIGIN_BYTES_MAX && !host.is_empty() && host.chars().all(is_host);
        is_origin.then_some(Origin { scheme, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_allows_its_origins_and_no_others() {
        for (pattern, origin, allowed) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example:443", "https://a.example", true),
            ("https://a.example", "https://a.example:443", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "https://b.a.example", false),
            ("https://a.example", "https://a.example.evil.com", false),
            ("https://a.example", "https://a.example@evil.com", false),
            ("https://a.example", "https://a.example/", false),
            ("https://a.example", "null", false),
            ("https://*.a.example", "https://b.a.example", true),
            ("https://*.a.example", "https://c.b.a.example", true),
            ("https://*.a.example", "https://a.example", false),
            ("https://*.a.example", "https://.a.example", false),
            ("https://*.a.example", "https://evila.example", false),
            ("https://*.a.example", "https://b.a.example:1", false),
            ("https://*.a.example:*", "https://b.a.example:1", true),
            ("http://localhost:*", "http://localhost:3000", true),
            ("http://localhost:*", "http://localhost", true),
            ("http://localhost:*", "https://localhost:3000", false),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("http://[::1]", "http://[::1]:80", true),
            ("*", "null", true),
            ("*", "https://any.example", true),
        ] {
            let compiled = OriginPattern::try_from(pattern).unwrap();
            assert_eq!(compiled.allows(origin), allowed, "{pattern} {origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_no_pattern() {
        for text in [
            "",
            "null",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://Example.com",
            "https://example.com/",
            "https://example.com:x",
            "https://example.com:99999",
            "https://*",
            "https://*.com",
            "https://*.0.0.1",
            "https://a.*.com",
            "https://*.*.com",
            "**",
        ] {
            assert_eq!(OriginPattern::try_from(text), Err(OriginError), "{text}");
        }
    }
}
