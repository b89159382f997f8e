//! How much happened, to see that something did.

use std::{collections::BTreeMap, fmt, ops::AddAssign, str::FromStr};

/// Counts by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    counts: BTreeMap<String, u64>,
}

impl Counts {
    /// Counts so many more.
    pub fn add(&mut self, what: &str, more: u64) {
        match self.counts.get_mut(what) {
            Some(count) => *count += more,
            None => drop(self.counts.insert(what.to_owned(), more)),
        }
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, more: &Counts) {
        for (what, count) in &more.counts {
            self.add(what, *count);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(what, count): (&String, &u64)| format!("{what} {count}");
        let all: Vec<String> = self.counts.iter().map(one).collect();
        f.write_str(&all.join(", "))
    }
}

/// The inverse of its text. What is not understood is left out.
impl FromStr for Counts {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Counts, Self::Err> {
        let one = |part: &str| {
            let (what, count) = part.split_once(' ')?;
            Some((what.to_owned(), count.parse().ok()?))
        };
        Ok(Counts {
            counts: text.split(", ").filter_map(one).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn counts_are_read_back_from_their_text() {
        let mut counts = Counts::default();
        counts.add("acked", 3);
        counts.add("seen", 4);
        counts.add("acked", 1);
        assert_eq!(counts.to_string(), "acked 4, seen 4");
        assert_eq!(counts.to_string().parse(), Ok(counts));
    }
}
