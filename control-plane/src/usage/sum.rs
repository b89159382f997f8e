//! Hours of projects, put together to what is shown.

use std::collections::BTreeMap;

use highwater_proto::control::Hour;

use super::shape::{Period, Traffic, Usage, Used, start_of};

/// Adds up the hours of some projects: each project's in order, those of the period and perhaps an earlier one, of
/// which only what is stored still counts.
pub fn sum(period: Period, projects: &[Vec<Hour>]) -> Usage {
    let step = period.by.hours();
    let mut items: Vec<Used> = (period.from_hour..period.to_hour)
        .step_by(step as usize)
        .map(|hour| Used {
            start: start_of(hour),
            total: Traffic::default(),
            peak_connections: 0,
            stored_bytes: 0,
            protocols: BTreeMap::new(),
        })
        .collect();
    for hours in projects {
        add(period, hours, &mut items);
    }
    Usage {
        by: period.by,
        from: start_of(period.from_hour),
        until: start_of(period.to_hour),
        items,
    }
}

fn add(period: Period, hours: &[Hour], items: &mut [Used]) {
    let mut hours = hours.iter().peekable();
    let mut stored_bytes = 0;
    while let Some(earlier) = hours.next_if(|hour| hour.hour < period.from_hour) {
        stored_bytes = earlier.stored_bytes;
    }
    let starts = (period.from_hour..period.to_hour).step_by(period.by.hours() as usize);
    for (start, item) in starts.zip(items) {
        let end = start + period.by.hours();
        let mut peak_connections = 0;
        while let Some(hour) = hours.next_if(|hour| hour.hour < end) {
            for traffic in &hour.traffic {
                item.total.add(traffic);
                let of_protocol = item.protocols.entry(traffic.protocol.clone());
                of_protocol.or_default().add(traffic);
            }
            peak_connections = peak_connections.max(hour.peak_connections);
            stored_bytes = hour.stored_bytes;
        }
        item.peak_connections += peak_connections;
        item.stored_bytes += stored_bytes;
    }
}

#[cfg(test)]
mod tests {
    use highwater_proto::control;

    use super::*;
    use crate::usage::shape::By;

    fn hour(hour: u64, messages_in: u64, stored_bytes: u64, peak_connections: u64) -> Hour {
        let traffic = control::Traffic {
            protocol: "mqtt".into(),
            messages_in,
            connection_ms: 90_000,
            ..control::Traffic::default()
        };
        Hour {
            hour,
            traffic: vec![traffic],
            stored_bytes,
            peak_connections,
        }
    }

    #[test]
    fn hours_become_days_and_projects_are_added_up() {
        let projects = [
            vec![hour(3, 1, 10, 1), hour(24, 2, 20, 4), hour(30, 3, 15, 2)],
            vec![hour(49, 5, 7, 1)],
        ];
        let period = Period {
            by: By::Day,
            from_hour: 24,
            to_hour: 72,
        };
        let usage = sum(period, &projects);
        let seen: Vec<_> = usage
            .items
            .iter()
            .map(|i| (i.total.messages_in, i.peak_connections, i.stored_bytes))
            .collect();
        assert_eq!(seen, [(5, 4, 15), (5, 1, 22)]);
        assert_eq!(usage.items[0].total.connection_minutes(), 3.0);
        assert_eq!(usage.items[1].protocols["mqtt"].messages_in, 5);

        let hourly = Period {
            by: By::Hour,
            from_hour: 25,
            to_hour: 31,
        };
        let usage = sum(hourly, &projects[..1]);
        let stored: Vec<_> = usage.items.iter().map(|i| i.stored_bytes).collect();
        assert_eq!(stored, [20, 20, 20, 20, 20, 15]);
        assert!(usage.items[0].protocols.is_empty());
    }
}
