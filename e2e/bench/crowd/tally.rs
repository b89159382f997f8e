//! Counts messages in the bytes of a connection by a mark in each payload, however the bytes are cut into reads.
//!
//! A single byte would not do: the length of a frame can be any. In front of these three there is no frame of a
//! WebSocket in which they are lengths.

/// What every payload holds once. Two bytes of a length are between 0x7E and a payload, and eight begin with zeroes.
pub const MARK: &[u8; 3] = b"`|`";

/// The end of what came before.
#[derive(Debug, Default)]
pub struct Tally([u8; 2]);

impl Tally {
    /// How many messages have come with these bytes.
    pub fn add(&mut self, bytes: &[u8]) -> u64 {
        let Tally([first, second]) = *self;
        let joint = match *bytes {
            [] => return 0,
            [a] => {
                self.0 = [second, a];
                return marks(&[first, second, a]);
            }
            [a, b, ..] => marks(&[first, second, a, b]),
        };
        self.0 = [bytes[bytes.len() - 2], bytes[bytes.len() - 1]];
        joint + marks(bytes)
    }
}

/// Written so that the compiler looks at many bytes at once.
fn marks(bytes: &[u8]) -> u64 {
    let [a, b, c] = *MARK;
    let (second, third) = (&bytes[1..], bytes.get(2..).unwrap_or_default());
    let windows = bytes.iter().zip(second).zip(third);
    windows
        .map(|((x, y), z)| u64::from((*x == a) & (*y == b) & (*z == c)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_once_wherever_the_bytes_are_cut() {
        let bytes = b"\x81\x7e`|{..`|`.x`|`\"~~`|.|``|`";
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let mut tally = Tally::default();
                let (left, rest) = bytes.split_at(first);
                let (middle, right) = rest.split_at(second - first);
                let count: u64 = [left, middle, right]
                    .map(|part| tally.add(part))
                    .iter()
                    .sum();
                assert_eq!(count, 3, "cut at {first} and {second}");
            }
        }
    }
}
