//! How long something lasts, as it is typed: `90s`, `15m`, `1h30m`, `30d`.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::exit::Exit;

/// Units, with their milliseconds.
const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

/// When something ends.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct Expiry {
    /// When it expires, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub expires_at: Option<String>,
    /// After how long it expires, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_ms)]
    pub expires_in: Option<u64>,
}

impl Expiry {
    /// The time, for changes, which take no other.
    ///
    /// # Errors
    /// When it is too far away.
    pub fn at(&self) -> anyhow::Result<Option<String>> {
        let Some(ms) = self.expires_in else {
            return Ok(self.expires_at.clone());
        };
        let at = i64::try_from(ms)
            .ok()
            .and_then(|ms| OffsetDateTime::now_utc().checked_add(time::Duration::milliseconds(ms)));
        let at = at.and_then(|at| at.format(&Rfc3339).ok());
        Ok(Some(at.ok_or_else(|| Exit::usage("that is too far away"))?))
    }
}

/// Milliseconds of a duration.
///
/// # Errors
/// When it is none.
pub fn parse_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a duration like 90s, 15m, 1h30m or 30d");
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, tail) = tail.split_at(letters.unwrap_or(tail.len()));
        let (_, ms) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*ms));
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_typed_with_their_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(parse_ms(text), Ok(ms));
        }
        for text in [
            "",
            "5",
            "h",
            "1x",
            "-1s",
            "1 h",
            "99999999999999999999s",
            "18446744073709551615w",
        ] {
            assert!(parse_ms(text).is_err(), "{text}");
        }
    }
}
