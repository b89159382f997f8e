//! Collecting the slices of one page, to its limits and no further.

use std::sync::Arc;

use highwater_broker::{
    handle::PageLimits,
    segment::{Segment, Slice},
};

/// A page that is being filled.
pub(super) struct PageBuilder {
    limits: PageLimits,
    records: usize,
    bytes: usize,
    closed: bool,
    slices: Vec<Slice>,
}

impl PageBuilder {
    pub fn new(limits: PageLimits) -> PageBuilder {
        PageBuilder {
            limits,
            records: 0,
            bytes: 0,
            closed: false,
            slices: Vec::new(),
        }
    }

    /// Takes the records of a segment with offsets from `first` to before `end`, or as many as the
    /// limits allow; the page's first record always fits. Returns the offset after the last one
    /// taken, which is `end` unless the page is full.
    pub fn push(&mut self, segment: &Arc<Segment>, first: u64, end: u64) -> u64 {
        let start = (first.max(segment.base_offset) - segment.base_offset) as usize;
        let end = (end.min(segment.end_offset()) - segment.base_offset) as usize;
        let mut taken = start;
        while taken < end {
            let bytes = self.bytes + segment.messages[taken].len();
            let full = self.records >= self.limits.records || bytes > self.limits.bytes;
            if full && self.records > 0 {
                self.closed = true;
                break;
            }
            self.records += 1;
            self.bytes = bytes;
            taken += 1;
        }
        if start < taken {
            self.add(segment, start, taken);
        }
        segment.base_offset + taken as u64
    }

    /// Adds records, as part of the slice before them if they follow it in the same segment.
    fn add(&mut self, segment: &Arc<Segment>, start: usize, end: usize) {
        if let Some(last) = self.slices.last_mut()
            && Arc::ptr_eq(&last.segment, segment)
            && last.end == start
        {
            last.end = end;
            return;
        }
        self.slices.push(Slice {
            segment: segment.clone(),
            start,
            end,
        });
    }

    /// Whether it takes nothing more.
    pub fn is_full(&self) -> bool {
        let full = self.records >= self.limits.records || self.bytes >= self.limits.bytes;
        self.closed || full && self.records > 0
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// The page.
    pub fn finish(self) -> Vec<Slice> {
        self.slices
    }
}
