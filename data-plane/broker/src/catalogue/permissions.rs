//! What a credential allows: operations × topic filters.

use highwater_proto::names::{TopicFilter, TopicName};

/// What a credential may do to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Append records.
    Publish = 1,
    /// Read and subscribe.
    Subscribe = 2,
    /// Delete topics.
    Manage = 4,
}

impl Operation {
    /// The operation with this name.
    pub fn from_name(name: &str) -> Option<Operation> {
        match name {
            "publish" => Some(Operation::Publish),
            "subscribe" => Some(Operation::Subscribe),
            "manage" => Some(Operation::Manage),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Publish => "publish",
            Operation::Subscribe => "subscribe",
            Operation::Manage => "manage",
        }
    }
}

/// Operations × topic filters.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    grants: Vec<(u8, TopicFilter)>,
}

impl Permissions {
    /// Permissions that allow each of these operations on the topics that match its filter.
    pub fn new(grants: impl IntoIterator<Item = (Vec<Operation>, TopicFilter)>) -> Permissions {
        let compile = |(operations, filter): (Vec<Operation>, TopicFilter)| {
            let bits = operations.iter().fold(0, |bits, o| bits | *o as u8);
            (bits, filter)
        };
        Permissions {
            grants: grants.into_iter().map(compile).collect(),
        }
    }

    /// Whether the operation is allowed on the topic.
    pub fn allow(&self, operation: Operation, topic: &TopicName) -> bool {
        self.granted(operation).any(|f| f.matches(topic.as_str()))
    }

    /// Whether the operation is allowed on every topic the filter could match.
    pub fn allow_all(&self, operation: Operation, filter: &TopicFilter) -> bool {
        self.granted(operation)
            .any(|granted| covers(granted, filter))
    }

    fn granted(&self, operation: Operation) -> impl Iterator<Item = &TopicFilter> {
        let grants = self.grants.iter();
        grants.filter_map(move |(bits, f)| (bits & operation as u8 != 0).then_some(f))
    }
}

/// Whether every topic that `narrow` matches is matched by `wide`.
fn covers(wide: &TopicFilter, narrow: &TopicFilter) -> bool {
    let (wide, narrow) = (wide.as_str(), narrow.as_str());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::try_from(text).unwrap()
    }

    #[test]
    fn a_filter_is_allowed_only_if_all_it_matches_is() {
        for (granted, asked, expected) in [
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
                covers(&filter(granted), &filter(asked)),
                expected,
                "{granted} {asked}"
            );
        }
    }
}
