//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1): names with parameters.

use std::borrow::Cow;

/// A header that does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sec-websocket-extensions is malformed")]
pub struct Malformed;

/// One extension of a list, with its parameters in the order they stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a str,
    parameters: &'a str,
}

/// The extensions of one header, in the client's order of preference. Empty elements are skipped.
pub(crate) fn parse(header: &str) -> impl Iterator<Item = Result<Extension<'_>, Malformed>> {
    split_unquoted(header, b',')
        .map(trim)
        .filter(|element| !element.is_empty())
        .map(|element| {
            let (name, parameters) = cut_unquoted(element, b';');
            let extension = Extension {
                name: trim(name),
                // Without the semicolon there are no parameters, with it there is at least one.
                parameters: parameters.unwrap_or_default(),
            };
            let complete = parameters.is_none_or(|rest| !trim(rest).is_empty());
            let well_formed = complete
                && is_token(extension.name)
                && extension.parameters().all(|parameter| parameter.is_ok());
            well_formed.then_some(extension).ok_or(Malformed)
        })
}

impl<'a> Extension<'a> {
    /// Each parameter's name, and its value if it has one.
    pub(crate) fn parameters(
        &self,
    ) -> impl Iterator<Item = Result<(&'a str, Option<Cow<'a, str>>), Malformed>> + use<'a> {
        let any = !self.parameters.is_empty();
        split_unquoted(self.parameters, b';')
            .filter(move |_| any)
            .map(parameter)
    }
}

/// Whether this is a token of HTTP (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let is_token_byte = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn parameter(text: &str) -> Result<(&str, Option<Cow<'_, str>>), Malformed> {
    let (name, value) = cut_unquoted(text, b'=');
    let name = trim(name);
    let value = match value.map(trim) {
        None => None,
        Some(value) => Some(match value.strip_prefix('"') {
            None => Cow::Borrowed(value),
            Some(quoted) => unquote(quoted)?,
        }),
    };
    // A quoted value must be a token once it is unquoted.
    match is_token(name) && value.as_deref().is_none_or(is_token) {
        true => Ok((name, value)),
        false => Err(Malformed),
    }
}

/// What stands between the quotes, of which the first is cut off already.
fn unquote(quoted: &str) -> Result<Cow<'_, str>, Malformed> {
    let inner = quoted.strip_suffix('"').ok_or(Malformed)?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        value.push(match c {
            '\\' => chars.next().ok_or(Malformed)?,
            c => c,
        });
    }
    Ok(Cow::Owned(value))
}

fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (element, after) = cut_unquoted(rest?, separator);
        rest = after;
        Some(element)
    })
}

/// The text before and after the first separator outside of quotes.
fn cut_unquoted(text: &str, separator: u8) -> (&str, Option<&str>) {
    let mut quoted = false;
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return (&text[..i], Some(&text[i + 1..])),
            _ => {}
        }
    }
    (text, None)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
