//! Times as RFC 3339 writes them, in UTC and with milliseconds.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

use crate::refusal::{Result, invalid};

/// A time, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Unless it is 0, which stands for none.
    pub fn unless_zero(ms: u64) -> Option<Timestamp> {
        (ms > 0).then_some(Timestamp(ms))
    }

    fn parse(text: &str) -> Option<Timestamp> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let ms = time.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(ms).ok().map(Timestamp)
    }

    fn text(self) -> Option<String> {
        let nanos = i128::from(self.0) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        let time = time.to_offset(UtcOffset::UTC);
        let (date, clock) = (time.date(), time.time());
        Some(format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
            clock.millisecond()
        ))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // Past the year 9999 there is no such text.
        match self.text() {
            Some(text) => serializer.serialize_str(&text),
            None => serializer.serialize_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Timestamp, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let time = Timestamp::parse(&text);
        time.ok_or_else(|| D::Error::custom("a time is like 2027-01-31T12:00:00Z (RFC 3339)"))
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Timestamp {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Timestamp")
    }
}

/// When something ends that is given a time, a lifetime, or neither: 0 is never.
///
/// # Errors
/// When both are given, or the end is over or too far away.
pub fn expiry_ms(
    now_ms: u64,
    at: Option<Timestamp>,
    in_ms: Option<u64>,
    longest_ms: u64,
) -> Result<u64> {
    let expires_at_ms = match (at, in_ms) {
        (None, None) => return Ok(0),
        (Some(_), Some(_)) => {
            return Err(invalid("give `expires_at` or `expires_in_ms`, not both"));
        }
        (Some(at), None) => at.0,
        (None, Some(ms)) => now_ms.saturating_add(ms),
    };
    if expires_at_ms <= now_ms {
        return Err(invalid("it would have expired already"));
    }
    if expires_at_ms - now_ms > longest_ms {
        return Err(invalid(format!(
            "it expires within {longest_ms} milliseconds, or never"
        )));
    }
    Ok(expires_at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_back() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-11-28T08:41:37.015Z", 1_795_855_297_015),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(Timestamp::parse(text), Some(Timestamp(ms)), "{text}");
            assert_eq!(Timestamp(ms).text().as_deref(), Some(text));
        }
        let offset = Timestamp::parse("2026-11-28T09:41:37.015+01:00");
        assert_eq!(offset, Some(Timestamp(1_795_855_297_015)));
        for text in [
            "",
            "0",
            "2026-11-28",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert!(
            serde_json::to_string(&Timestamp(u64::MAX))
                .unwrap()
                .contains("9999")
        );
    }

    #[test]
    fn an_end_is_to_come_and_not_too_far() {
        assert_eq!(expiry_ms(10, None, None, 5), Ok(0));
        assert_eq!(expiry_ms(10, None, Some(5), 5), Ok(15));
        assert_eq!(expiry_ms(10, Some(Timestamp(11)), None, 5), Ok(11));
        assert!(expiry_ms(10, Some(Timestamp(10)), None, 5).is_err());
        assert!(expiry_ms(10, None, Some(0), 5).is_err());
        assert!(expiry_ms(10, None, Some(u64::MAX), 5).is_err());
        assert!(expiry_ms(10, Some(Timestamp(11)), Some(1), 5).is_err());
    }
}
