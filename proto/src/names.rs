//! Topic names and filters: paths of levels divided by `/`, as MQTT has them (MQTT 5.0, section 4.7).

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::limits::{TOPIC_LEVELS_MAX, TOPIC_NAME_BYTES_MAX};

/// Why a text is not a topic name or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("a topic has at least one character")]
    Empty,
    /// More than [`TOPIC_NAME_BYTES_MAX`] bytes.
    #[error("a topic has at most {TOPIC_NAME_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`TOPIC_LEVELS_MAX`] levels.
    #[error("a topic has at most {TOPIC_LEVELS_MAX} levels")]
    TooDeep,
    /// U+0000, which MQTT forbids (MQTT-1.5.4-2).
    #[error("a topic has no NUL character")]
    Nul,
    /// A wildcard in the name of a topic.
    #[error("`+` and `#` belong in filters, not in the name of a topic")]
    Wildcard,
    /// A wildcard that shares its level, or a `#` that is not last (MQTT-4.7.1-1, MQTT-4.7.1-2).
    #[error("`+` and `#` stand alone in their level, and `#` is the last one")]
    WildcardPlace,
    /// A first level beginning with `$`, which clients may not write to.
    #[error("topics that begin with `$` belong to the system")]
    System,
}

fn check(text: &str) -> Result<(), NameError> {
    match text {
        "" => Err(NameError::Empty),
        _ if text.len() > TOPIC_NAME_BYTES_MAX => Err(NameError::TooLong),
        _ if text.bytes().filter(|b| *b == b'/').count() >= TOPIC_LEVELS_MAX => {
            Err(NameError::TooDeep)
        }
        _ if text.contains('\0') => Err(NameError::Nul),
        _ => Ok(()),
    }
}

/// The name of one topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text itself.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// Whether the topic belongs to the system: its first character is `$`.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// Hashes and compares as its text does, so that a map can be asked for a text that was not checked.
impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for TopicName {
    type Error = NameError;

    fn try_from(text: &str) -> Result<TopicName, NameError> {
        check(text)?;
        match text.contains(['+', '#']) {
            true => Err(NameError::Wildcard),
            false => Ok(TopicName(text.into())),
        }
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A topic name or a pattern over topic names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic this filter names, when it has no wildcard.
    pub fn as_topic(&self) -> Option<TopicName> {
        (!self.0.contains(['+', '#'])).then(|| TopicName(self.0.clone()))
    }

    /// Whether a topic is meant by this filter.
    ///
    /// `+` stands for one level, `#` for the rest including none of it, so `a/#` matches `a`. A
    /// wildcard in the first level does not match system topics (MQTT-4.7.2-1).
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that a narrower filter matches is matched by this one.
    pub fn covers(&self, narrow: &TopicFilter) -> bool {
        let (wide, narrow) = (self.as_str(), narrow.as_str());
        // A first-level wildcard never reaches the system's topics, but a literal `$…` does.
        if wide.starts_with(['+', '#']) && narrow.starts_with('$') {
            return false;
        }
        let mut narrow_levels = narrow.split('/');
        for level in wide.split('/') {
            if level == "#" {
                return true;
            }
            match narrow_levels.next() {
                Some("#") | None => return false,
                Some(wanted) if level == "+" || level == wanted => {}
                Some(_) => return false,
            }
        }
        narrow_levels.next().is_none()
    }

    /// The text every matching topic begins with: whatever stands before the first wildcard. For
    /// `a/b/#` this is `a/b`, since that topic matches too.
    pub fn literal_prefix(&self) -> &str {
        match self.0.find(['+', '#']) {
            None => &self.0,
            Some(at) if self.0.as_bytes()[at] == b'#' => self.0[..at].trim_end_matches('/'),
            Some(at) => &self.0[..at],
        }
    }
}

impl TryFrom<&str> for TopicFilter {
    type Error = NameError;

    fn try_from(text: &str) -> Result<TopicFilter, NameError> {
        check(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let alone = level.len() == 1;
            if level.contains('+') && !alone
                || level.contains('#') && (!alone || levels.peek().is_some())
            {
                return Err(NameError::WildcardPlace);
            }
        }
        Ok(TopicFilter(text.into()))
    }
}

impl From<&TopicName> for TopicFilter {
    fn from(name: &TopicName) -> TopicFilter {
        TopicFilter(name.0.clone())
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::try_from(filter).unwrap().matches(topic)
    }

    #[test]
    fn a_filter_covers_another_if_it_matches_all_that_the_other_does() {
        let filter = |text| TopicFilter::try_from(text).unwrap();
        for (wide, narrow, expected) in [
            ("#", "a/#", true),
            ("#", "$SYS/#", false),
            ("a/#", "a", true),
            ("a/#", "a/+/b", true),
            ("a/#", "+/b", false),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("+/b", "a/b", true),
            ("+/b", "a/#", false),
            ("a/+/#", "a/#", false),
        ] {
            assert_eq!(
                filter(wide).covers(&filter(narrow)),
                expected,
                "{wide} {narrow}"
            );
        }
    }

    #[test]
    fn filters_match_as_the_mqtt_specification_says() {
        for (filter, topic, expected) in [
            ("a", "a", true),
            ("a", "a/b", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "/", true),
            ("+", "a", true),
            ("+", "a/b", false),
            ("+", "/a", false),
            ("/+", "/a", true),
            ("+/+", "/a", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/+/c", "a/b/c", true),
            ("a/+/#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} on {topic}");
        }
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for bad in [
            "a#", "#a", "a/#/b", "a+", "+a/b", "a/b+/c", "##", "++", "#/",
        ] {
            let parsed = TopicFilter::try_from(bad);
            assert_eq!(parsed, Err(NameError::WildcardPlace), "{bad}");
        }
    }

    #[test]
    fn names_have_limits() {
        assert_eq!(TopicName::try_from(""), Err(NameError::Empty));
        assert_eq!(TopicName::try_from("a\0"), Err(NameError::Nul));
        assert_eq!(TopicName::try_from("a/+"), Err(NameError::Wildcard));
        let longest = "x".repeat(TOPIC_NAME_BYTES_MAX);
        assert!(TopicName::try_from(longest.as_str()).is_ok());
        let longer = longest + "x";
        assert_eq!(
            TopicName::try_from(longer.as_str()),
            Err(NameError::TooLong)
        );
        let deep = "/".repeat(TOPIC_LEVELS_MAX);
        assert_eq!(TopicName::try_from(deep.as_str()), Err(NameError::TooDeep));
    }

    #[test]
    fn the_literal_prefix_begins_every_match() {
        for (filter, prefix) in [
            ("a/b", "a/b"),
            ("a/#", "a"),
            ("a/b+c", ""),
            ("a/+/c", "a/"),
            ("#", ""),
            ("+", ""),
        ] {
            if let Ok(parsed) = TopicFilter::try_from(filter) {
                assert_eq!(parsed.literal_prefix(), prefix, "{filter}");
            }
        }
    }
}
