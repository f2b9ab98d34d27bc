//! A sliding window, kept as a row of buckets.

use serde::{Deserialize, Serialize};

/// How long a window is, and how finely it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    bucket_ms: u64,
    buckets: u64,
}

pub(super) const MINUTE: Span = Span { bucket_ms: 1000, buckets: 60 };
pub(super) const HOUR: Span = Span { bucket_ms: 60_000, buckets: 60 };
pub(super) const DAY: Span = Span { bucket_ms: 900_000, buckets: 96 };

impl Span {
    pub(super) const fn length_ms(self) -> u64 {
        self.bucket_ms * self.buckets
    }

    const fn bucket(self, at: u64) -> u64 {
        at / self.bucket_ms
    }

    /// When the last moment that this bucket stands for has left the window.
    const fn gone_at(self, bucket: u64) -> u64 {
        (bucket + 1) * self.bucket_ms + self.length_ms()
    }
}

/// Buckets and their counts, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window(Vec<(u64, u32)>);

impl Window {
    /// The buckets that count now. What lies more than a window ahead was counted by a clock that was wrong.
    fn counting(&self, span: Span, now: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
        let last = span.bucket(now) + span.buckets;
        self.0.iter().copied().filter(move |(bucket, _)| span.gone_at(*bucket) > now && *bucket <= last)
    }

    pub(super) fn used(&self, span: Span, now: u64) -> u32 {
        self.counting(span, now).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// When one more is within the limit; `None`: now.
    pub(super) fn frees_at(&self, span: Span, now: u64, limit: u32) -> Option<u64> {
        let used = self.used(span, now);
        if used < limit {
            return None;
        }
        let mut left = used;
        for (bucket, count) in self.counting(span, now) {
            left -= count;
            if left < limit {
                return Some(span.gone_at(bucket));
            }
        }
        Some(now + span.length_ms()) // nothing is allowed at all
    }

    pub(super) fn add(&mut self, span: Span, now: u64) {
        let kept: Vec<_> = self.counting(span, now).collect();
        self.0 = kept;
        // A clock that was set back does not put the row out of order.
        let bucket = self.0.last().map_or(0, |(last, _)| *last).max(span.bucket(now));
        match self.0.last_mut() {
            Some((last, count)) if *last == bucket => *count = count.saturating_add(1),
            _ => self.0.push((bucket, 1)),
        }
    }

    /// Takes one back that was added at this moment.
    pub(super) fn take_back(&mut self, span: Span, at: u64) {
        let bucket = span.bucket(at);
        if let Some((_, count)) = self.0.iter_mut().find(|(other, count)| *other >= bucket && *count > 0) {
            *count -= 1;
        }
        self.0.retain(|(_, count)| *count > 0);
    }
}
