//! Topic names and topic filters: what MQTT allows in them, and no more (MQTT 5.0, section 4.7).
//!
//! A server may have narrower rules of its own; matching a name against a filter is its business too.

use std::fmt;

use crate::text::{Text, TextError};

/// What keeps a text from being a topic name or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// No character at all (MQTT-4.7.3-1).
    #[error("it has no characters")]
    Empty,
    /// A wildcard in a name (MQTT-3.3.2-2).
    #[error("`+` and `#` belong in filters")]
    Wildcard,
    /// A wildcard that shares its level, or a `#` before the end (MQTT-4.7.1-1, MQTT-4.7.1-2).
    #[error("`+` and `#` stand alone in their level, and `#` is the last one")]
    WildcardPlace,
    /// `$share/` without a share name, or with a wildcard in it (MQTT-4.8.2-1, MQTT-4.8.2-2).
    #[error("`$share/` is followed by a share name without `+` and `#`")]
    ShareName,
    /// `$share/name` without a filter (MQTT-4.8.2-2).
    #[error("a share name is followed by `/` and a topic filter")]
    ShareFilter,
}

/// A text in the place of a topic name or filter that is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{text:?} is not valid here: {fault}")]
pub struct Invalid {
    text: Text,
    fault: Fault,
}

impl Invalid {
    /// What the peer wrote.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// What is wrong with it.
    pub fn fault(&self) -> Fault {
        self.fault
    }
}

/// The name of a topic: at least one character, no wildcards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Text);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name as a field.
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// The name in memory of its own; see [`Text::detached`].
    pub fn detached(&self) -> Name {
        Name(self.0.detached())
    }
}

impl TryFrom<Text> for Name {
    type Error = Invalid;

    fn try_from(text: Text) -> Result<Name, Invalid> {
        let fault = match text.as_bytes() {
            [] => Fault::Empty,
            bytes if bytes.iter().any(|b| matches!(b, b'+' | b'#')) => Fault::Wildcard,
            _ => return Ok(Name(text)),
        };
        Err(Invalid { text, fault })
    }
}

/// A topic filter: a topic name, or a pattern over topic names, perhaps shared by a group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Text);

/// What a shared subscription's filter begins with (MQTT-4.8.2-1).
const SHARE: &str = "$share/";

impl Filter {
    /// The filter as the client wrote it, share and all: what a subscription is known by.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The filter as a field.
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// The filter in memory of its own; see [`Text::detached`].
    pub fn detached(&self) -> Filter {
        Filter(self.0.detached())
    }

    /// The group's name and what it subscribes to, when the subscription is shared.
    pub fn share(&self) -> Option<(&str, &str)> {
        self.as_str().strip_prefix(SHARE)?.split_once('/')
    }

    /// What topic names are matched against: the filter without its share.
    pub fn pattern(&self) -> &str {
        self.share().map_or(self.as_str(), |(_, pattern)| pattern)
    }

    /// Whether the subscription is shared, as soon as it says so, even if the rest is not valid.
    pub(crate) fn is_meant_as_shared(text: &Text) -> bool {
        text.as_bytes().starts_with(SHARE.as_bytes())
    }
}

impl TryFrom<Text> for Filter {
    type Error = Invalid;

    fn try_from(text: Text) -> Result<Filter, Invalid> {
        match check_filter(text.as_str()) {
            Ok(()) => Ok(Filter(text)),
            Err(fault) => Err(Invalid { text, fault }),
        }
    }
}

fn check_filter(text: &str) -> Result<(), Fault> {
    let pattern = match text.strip_prefix(SHARE) {
        None => text,
        Some(share) => {
            let (group, pattern) = share.split_once('/').unwrap_or((share, ""));
            if group.is_empty() || group.contains(['+', '#']) {
                return Err(Fault::ShareName);
            } else if pattern.is_empty() {
                return Err(Fault::ShareFilter);
            }
            pattern
        }
    };
    if pattern.is_empty() {
        return Err(Fault::Empty);
    }
    let mut levels = pattern.split('/').peekable();
    while let Some(level) = levels.next() {
        let alone = level.len() == 1;
        let plus = level.contains('+') && !alone;
        let hash = level.contains('#') && (!alone || levels.peek().is_some());
        if plus || hash {
            return Err(Fault::WildcardPlace);
        }
    }
    Ok(())
}

/// Why a string is no name or filter, for those who make one from a string of their own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not even a text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// It is a text, but no name or filter.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

macro_rules! from_and_to_strings {
    ($type:ty) => {
        impl TryFrom<&str> for $type {
            type Error = NameError;

            fn try_from(text: &str) -> Result<$type, NameError> {
                Ok(<$type>::try_from(Text::try_from(text)?)?)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

from_and_to_strings!(Name);
from_and_to_strings!(Filter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_characters_and_no_wildcards() {
        for (text, expected) in [
            ("a", Ok(())),
            ("/", Ok(())),
            ("a//b/", Ok(())),
            (" ", Ok(())),
            ("$SYS/x", Ok(())),
            ("", Err(Fault::Empty)),
            ("a/+", Err(Fault::Wildcard)),
            ("a#", Err(Fault::Wildcard)),
        ] {
            let name = Name::try_from(Text::try_from(text).unwrap());
            assert_eq!(name.map(drop).map_err(|e| e.fault()), expected, "{text}");
        }
    }

    #[test]
    fn filters_have_wildcards_in_levels_of_their_own() {
        for (text, expected) in [
            ("a", Ok(())),
            ("#", Ok(())),
            ("+", Ok(())),
            ("/+", Ok(())),
            ("+/+/#", Ok(())),
            ("a/+/b/#", Ok(())),
            ("$SYS/#", Ok(())),
            // Neither is a shared subscription: those begin with `$share/`.
            ("$share", Ok(())),
            ("$sharex/g/a", Ok(())),
            ("$share/g/a", Ok(())),
            ("$share/g/#", Ok(())),
            ("$share/g//", Ok(())),
            ("$share/g/$share/h/a", Ok(())),
            ("", Err(Fault::Empty)),
            ("a#", Err(Fault::WildcardPlace)),
            ("a/#/b", Err(Fault::WildcardPlace)),
            ("#/", Err(Fault::WildcardPlace)),
            ("a+/b", Err(Fault::WildcardPlace)),
            ("a/+b", Err(Fault::WildcardPlace)),
            ("++", Err(Fault::WildcardPlace)),
            ("$share/", Err(Fault::ShareName)),
            ("$share//a", Err(Fault::ShareName)),
            ("$share/+/a", Err(Fault::ShareName)),
            ("$share/g#/a", Err(Fault::ShareName)),
            ("$share/g", Err(Fault::ShareFilter)),
            ("$share/g/", Err(Fault::ShareFilter)),
            ("$share/g/a#", Err(Fault::WildcardPlace)),
        ] {
            let filter = Filter::try_from(Text::try_from(text).unwrap());
            assert_eq!(filter.map(drop).map_err(|e| e.fault()), expected, "{text}");
        }
    }

    #[test]
    fn a_share_is_told_apart_from_its_pattern() {
        let shared = Filter::try_from("$share/g/a/#").unwrap();
        assert_eq!(shared.share(), Some(("g", "a/#")));
        assert_eq!(shared.pattern(), "a/#");
        let plain = Filter::try_from("a/#").unwrap();
        assert_eq!(plain.share(), None);
        assert_eq!(plain.pattern(), "a/#");
        // A second prefix is part of the pattern, and matches topics of that name.
        let nested = Filter::try_from("$share/g/$share/h/a").unwrap();
        assert_eq!(nested.pattern(), "$share/h/a");
    }
}
