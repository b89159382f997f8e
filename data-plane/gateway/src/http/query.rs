//! Query parameters: each known, given once unless it is a list, and none of them a credential.

use std::time::Duration;

use axum::{extract::Query, http::Uri};
use highwater_broker::Result;

use super::invalid;
use crate::authenticate::refuse_credential;

/// The parameters of a request that were not taken yet.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query of an address.
    ///
    /// # Errors
    /// `invalid_request` when it is malformed, `unauthenticated` when it holds a credential.
    pub fn of(uri: &Uri) -> Result<Parameters> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(invalid("the query of the address is malformed"));
        };
        for (name, value) in &pairs {
            refuse_credential(name, value)?;
        }
        Ok(Parameters(pairs))
    }

    /// Takes all values of a parameter.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(known, _)| known == name);
        taken.map(|(_, value)| value).collect()
    }

    /// Takes a parameter that is given once at most.
    pub fn one(&mut self, name: &str) -> Result<Option<String>> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(invalid(format!(
                "the parameter `{name}` is given more than once"
            ))),
        }
    }

    /// # Errors
    /// `invalid_request` when there is a parameter that nobody took.
    pub fn end(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(invalid(format!("there is no parameter `{name}` here")))
            }
        }
    }
}

/// A duration: milliseconds, or a number with `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let amount: u64 = number.parse().ok()?;
    amount.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_milliseconds_unless_it_says_otherwise() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1500", Some(1_500)),
            ("1500ms", Some(1_500)),
            ("30s", Some(30_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.5s", None),
            ("1 s", None),
            ("٣", None),
            ("99999999999999999999", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(
                parse_duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
