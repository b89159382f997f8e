//! Usage as JSON.

use std::collections::BTreeMap;

use highwater_proto::{
    control,
    limits::{USAGE_HOURLY_MAX, USAGE_HOURS_MAX},
};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use crate::{
    refusal::{Result, invalid},
    shapes::Timestamp,
};

/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 3_600 * 1_000;

/// What time is divided into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Hours of UTC.
    #[default]
    Hour,
    /// Days of UTC.
    Day,
}

/// Which time, and how finely.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// What each item is about.
    #[param(inline)]
    by: Option<By>,
    /// The item with this time is the first one: a day before `until`, or thirty when it is by the day, if it is not said.
    from: Option<Timestamp>,
    /// The last item is the one before this time: now, with the item that is going on, if it is not said.
    until: Option<Timestamp>,
}

/// The hours that are asked for, whole items of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// What each item is about.
    pub by: By,
    /// The first hour, since the Unix epoch.
    pub from_hour: u64,
    /// The hour after the last one.
    pub to_hour: u64,
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Usage {
    /// What each item is about.
    pub by: By,
    /// Where the first item begins.
    pub from: Timestamp,
    /// Where the last item ends.
    pub until: Timestamp,
    /// One for each hour or day, in order, whether or not anything was used in it.
    pub items: Vec<Used>,
}

/// What was used in an hour or a day.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Used {
    /// Where it begins.
    pub start: Timestamp,
    /// Over all protocols.
    #[serde(flatten)]
    pub total: Traffic,
    /// The most connections that were open at once; of several projects, added up.
    pub peak_connections: u64,
    /// Bytes of messages that are stored, at its end or now.
    pub stored_bytes: u64,
    /// Over each protocol that was used.
    pub protocols: BTreeMap<String, Traffic>,
}

/// What went in and out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Traffic {
    /// Messages that were published.
    pub messages_in: u64,
    /// Bytes of them as they are stored: payload, headers and what else belongs to them.
    pub bytes_in: u64,
    /// Messages that were delivered, to each who received them.
    pub messages_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Minutes of open connections.
    #[serde(rename = "connection_minutes", serialize_with = "as_minutes")]
    #[schema(value_type = f64)]
    pub connection_ms: u64,
}

impl Asked {
    /// The period, at a time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is none, or too long.
    pub fn period(&self, now_ms: u64) -> Result<Period> {
        let by = self.by.unwrap_or_default();
        let step = by.hours();
        let (most, usual) = match by {
            By::Hour => (USAGE_HOURLY_MAX, 24),
            By::Day => (USAGE_HOURS_MAX, 30 * 24),
        };
        let until_ms = self
            .until
            .map_or(now_ms + 1, |until| until.0.min(now_ms + 1));
        let to_hour = until_ms.div_ceil(HOUR_MS * step) * step;
        let from_hour = match self.from {
            Some(from) => from.0 / HOUR_MS / step * step,
            None => to_hour.saturating_sub(usual),
        };
        if from_hour > to_hour {
            return Err(invalid("`from` is before `until`, and not to come"));
        }
        if to_hour - from_hour > most {
            let days = most / 24;
            return Err(invalid(format!(
                "at most {days} days can be asked for at once"
            )));
        }
        Ok(Period {
            by,
            from_hour,
            to_hour,
        })
    }
}

impl By {
    /// Hours of one item.
    pub fn hours(self) -> u64 {
        match self {
            By::Hour => 1,
            By::Day => 24,
        }
    }
}

/// The time at which an hour begins.
pub fn start_of(hour: u64) -> Timestamp {
    Timestamp(hour * HOUR_MS)
}

impl Traffic {
    /// Adds what a node has counted.
    pub fn add(&mut self, more: &control::Traffic) {
        self.messages_in += more.messages_in;
        self.bytes_in += more.bytes_in;
        self.messages_out += more.messages_out;
        self.bytes_out += more.bytes_out;
        self.connection_ms += more.connection_ms;
    }

    /// Minutes of open connections.
    pub fn connection_minutes(&self) -> f64 {
        minutes(self.connection_ms)
    }
}

fn as_minutes<S: Serializer>(ms: &u64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(minutes(*ms))
}

fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_of_whole_hours_or_days() {
        let now_ms = 100 * 24 * HOUR_MS + 5 * HOUR_MS + 7;
        let period = |asked: Asked| asked.period(now_ms).map(|p| (p.from_hour, p.to_hour));
        let at = |hour: u64| Some(Timestamp(hour * HOUR_MS + 1));
        assert_eq!(period(Asked::default()), Ok((2_382, 2_406)));
        let by = Some(By::Day);
        let daily = |from, until| period(Asked { by, from, until });
        assert_eq!(daily(None, None), Ok((71 * 24, 101 * 24)));
        assert_eq!(daily(at(49), at(72)), Ok((48, 96)));
        let hourly = |from, until| {
            period(Asked {
                by: None,
                from,
                until,
            })
        };
        assert_eq!(hourly(at(10), at(11)), Ok((10, 12)));
        assert!(hourly(at(10), at(11 + USAGE_HOURLY_MAX)).is_err());
        assert!(hourly(at(11), at(9)).is_err());
        assert!(hourly(at(9_999), None).is_err());
    }
}
