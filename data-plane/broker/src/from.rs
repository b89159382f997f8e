//! Where a reader starts: the `from` of every protocol.

use highwater_proto::{ErrorCode, limits::PAGE_RECORDS_MAX};

use crate::refusal::{Refusal, Result};

/// A starting point, still as the client said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// With what is published from now on.
    Latest,
    /// With the oldest record that is retained.
    Earliest,
    /// Where this cursor says.
    Cursor(String),
    /// With the first record published at or after this time, in milliseconds since the Unix epoch.
    Time(u64),
    /// With the last so many records.
    Last(u64),
    /// With the retained record of each topic that has one, then whatever is published from now on.
    Retained,
}

impl From {
    /// Reads `latest`, `earliest`, `cursor:<cursor>`, `time:<RFC 3339 or ms>`, `last:<n>` or
    /// `retained`.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub fn parse(text: &str) -> Result<From> {
        let invalid = |message: &'static str| Refusal::new(ErrorCode::InvalidRequest, message);
        match text.split_once(':') {
            None => match text {
                "latest" => Ok(From::Latest),
                "earliest" => Ok(From::Earliest),
                "retained" => Ok(From::Retained),
                _ => Err(invalid(
                    "`from` is latest, earliest, retained, cursor:…, time:… or last:…",
                )),
            },
            Some(("cursor", cursor)) => Ok(From::Cursor(cursor.to_owned())),
            Some(("time", time)) => parse_time_ms(time)
                .map(From::Time)
                .ok_or(invalid("`time:` takes an RFC 3339 time or milliseconds")),
            Some(("last", n)) => match n.parse() {
                Ok(n) if n <= PAGE_RECORDS_MAX as u64 => Ok(From::Last(n)),
                _ => Err(invalid("`last:` takes a number up to 10000")),
            },
            Some(_) => Err(invalid(
                "`from` is latest, earliest, retained, cursor:…, time:… or last:…",
            )),
        }
    }
}

/// Milliseconds since the Unix epoch, from digits or from an RFC 3339 date-time (section 5.6).
/// Times before the epoch are the epoch.
pub fn parse_time_ms(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    let b = text.as_bytes();
    let shape = b.len() >= 20
        && text.is_ascii()
        && [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')]
            .iter()
            .all(|&(at, c)| b[at] == c)
        && matches!(b[10], b'T' | b't' | b' ');
    if !shape {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &text[from..to];
        digits
            .bytes()
            .all(|d| d.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = [
        31,
        28 + i64::from(leap),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let in_range = (1..=12).contains(&month)
        && (1..=month_days[(month - 1).clamp(0, 11) as usize]).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let (fraction, zone) = match text[19..].strip_prefix('.') {
        None => ("", &text[19..]),
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
    };
    if b[19] == b'.' && fraction.is_empty() {
        return None;
    }
    let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    let offset_minutes = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let (hours, minutes) = (number(at, at + 2)?, number(at + 3, at + 5)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        - offset_minutes * 60;
    Some((seconds * 1_000 + millis).max(0) as u64)
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, expected) in [
            ("latest", From::Latest),
            ("earliest", From::Earliest),
            ("retained", From::Retained),
            ("cursor:abc", From::Cursor("abc".into())),
            ("last:10", From::Last(10)),
            ("time:1500", From::Time(1_500)),
            ("time:1970-01-01T00:00:01Z", From::Time(1_000)),
            ("time:1970-01-01T00:00:01.5Z", From::Time(1_500)),
            ("time:1970-01-01t01:00:00.0019+01:00", From::Time(1)),
            ("time:2000-02-29T00:00:00Z", From::Time(951_782_400_000)),
            ("time:2026-11-21T05:09:46Z", From::Time(1_795_237_786_000)),
            ("time:1969-01-01T00:00:00Z", From::Time(0)),
        ] {
            assert_eq!(From::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "newest",
            "last:",
            "last:-1",
            "last:10001",
            "time:",
            "time:yesterday",
            "time:2001-02-29T00:00:00Z",
            "time:2026-13-01T00:00:00Z",
            "time:2026-01-01T24:00:00Z",
            "time:2026-01-01T00:00:00",
            "time:2026-01-01T00:00:00.Z",
            "time:2026-01-01T00:00:00+1:00",
            "time:2026-01-01T00:00:0éZ",
            "time:99999999999999999999999",
            "offset:3",
        ] {
            assert!(From::parse(text).is_err(), "{text}");
        }
    }
}
