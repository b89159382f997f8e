//! Names, labels and origins: what people write on resources.

use std::collections::BTreeMap;

use highwater_proto::{
    limits::{
        LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, ORIGINS_MAX,
        RESOURCE_NAME_BYTES_MAX,
    },
    origin::OriginPattern,
};

use crate::refusal::{Result, invalid};

/// Labels by their keys.
pub type Labels = BTreeMap<String, String>;

/// A name is for people, in any script; it never stands in a path.
///
/// # Errors
/// When it is empty, too long, or looks like another one.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > RESOURCE_NAME_BYTES_MAX {
        return Err(invalid(format!(
            "`name` has from 1 to {RESOURCE_NAME_BYTES_MAX} bytes"
        )));
    }
    if name.trim() != name || name.chars().any(is_invisible) {
        return Err(invalid(
            "`name` has no control or invisible characters, and no space at its ends",
        ));
    }
    Ok(())
}

/// Characters that two names could differ by without anybody seeing it.
fn is_invisible(c: char) -> bool {
    let marks = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}'];
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || marks.contains(&c)
}

/// # Errors
/// Which label is wrong.
pub fn check_labels(labels: &Labels) -> Result<()> {
    if labels.len() > LABELS_MAX {
        return Err(invalid(format!("there are at most {LABELS_MAX} `labels`")));
    }
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    for (key, value) in labels {
        if key.is_empty() || key.len() > LABEL_KEY_BYTES_MAX || !key.chars().all(is_of_key) {
            return Err(invalid(format!(
                "the key of a label has from 1 to {LABEL_KEY_BYTES_MAX} of the characters A-Z a-z 0-9 . _ / -"
            )));
        }
        if value.len() > LABEL_VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            return Err(invalid(format!(
                "the value of a label has at most {LABEL_VALUE_BYTES_MAX} bytes and no control characters"
            )));
        }
    }
    Ok(())
}

/// # Errors
/// Which origin is none.
pub fn check_origins(origins: &[String]) -> Result<()> {
    if origins.len() > ORIGINS_MAX {
        return Err(invalid(format!(
            "there are at most {ORIGINS_MAX} `origins`"
        )));
    }
    for (index, origin) in origins.iter().enumerate() {
        OriginPattern::try_from(origin.as_str())
            .map_err(|error| invalid(format!("`origins[{index}]`: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_for_people() {
        let long = "x".repeat(RESOURCE_NAME_BYTES_MAX);
        for name in ["a", "Müller & Söhne", "..", "a//b", "%2f", "生产", &long] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let too_long = format!("{long}x");
        for name in [
            "",
            " a",
            "a\n",
            "a\0b",
            "a\u{200b}b",
            "\u{202e}a",
            &too_long,
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn labels_have_keys_for_programs() {
        let label =
            |key: &str, value: &str| check_labels(&Labels::from([(key.into(), value.into())]));
        assert!(label("team/env.a_b-c", "anything ü").is_ok());
        for (key, value) in [
            ("", "v"),
            ("a b", "v"),
            ("k", "a\0"),
            (&"k".repeat(65), "v"),
        ] {
            assert!(label(key, value).is_err(), "{key}");
        }
        let many = (0..=LABELS_MAX).map(|n| (n.to_string(), String::new()));
        assert!(check_labels(&many.collect()).is_err());
    }
}
