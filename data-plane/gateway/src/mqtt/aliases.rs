//! Topic aliases to the client: a number in the place of a name that was said before (section 3.3.2.3.4).

use std::collections::HashMap;

use highwater_mqtt::{packet::publish::Alias, template::TopicAs};
use highwater_proto::limits::MQTT_TOPIC_ALIASES_MAX;

/// The aliases that stand on a connection. The first topics get one each, for as long as it lasts: most
/// clients follow few topics, and a client of many is no worse off than without.
#[derive(Debug, Default)]
pub struct Aliases {
    by_topic: HashMap<Box<str>, Alias>,
    max: u16,
}

impl Aliases {
    /// As many as the client takes, and as we keep.
    pub fn new(taken_by_client: u16) -> Aliases {
        Aliases {
            by_topic: HashMap::new(),
            max: taken_by_client.min(MQTT_TOPIC_ALIASES_MAX),
        }
    }

    /// How the topic is said if no new alias may be given.
    pub fn known(&self, topic: &str) -> TopicAs {
        self.by_topic
            .get(topic)
            .map_or(TopicAs::Name, |alias| TopicAs::Alias(*alias))
    }

    /// How the topic is said this time.
    pub fn name(&mut self, topic: &str) -> TopicAs {
        if let known @ TopicAs::Alias(_) = self.known(topic) {
            return known;
        }
        let next = u16::try_from(self.by_topic.len() + 1).unwrap_or(u16::MAX);
        match Alias::new(next).filter(|_| next <= self.max) {
            None => TopicAs::Name,
            Some(alias) => {
                self.by_topic.insert(topic.into(), alias);
                TopicAs::NameAndAlias(alias)
            }
        }
    }

    /// The packet that was to give an alias was not sent. It is always the last alias.
    pub fn forget(&mut self, alias: Alias) {
        self.by_topic.retain(|_, given| *given != alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_topics_get_one_each_and_the_others_none() {
        let alias = |number| Alias::new(number).unwrap();
        let mut aliases = Aliases::new(2);
        assert_eq!(aliases.name("a"), TopicAs::NameAndAlias(alias(1)));
        assert_eq!(aliases.name("a"), TopicAs::Alias(alias(1)));
        assert_eq!(aliases.name("b"), TopicAs::NameAndAlias(alias(2)));
        aliases.forget(alias(2));
        assert_eq!(aliases.name("c"), TopicAs::NameAndAlias(alias(2)));
        assert_eq!(aliases.name("b"), TopicAs::Name);
        assert_eq!(Aliases::new(0).name("a"), TopicAs::Name);
    }
}
