//! How many pieces are on their way at a time, by what goes out. A plain value; the time is an argument.
//!
//! What an origin can send isn't known before it has sent it, and what it shows bounds what is asked for. So the window
//! grows by what is seen of each piece, as long as pieces go out sooner than they would from a link that is full: from
//! the least to what fills 10 Gbit/s that takes a few round trips. And it shrinks to what has gone out within a second.

use std::time::{Duration, Instant};

use super::super_seed::window;

/// A piece that has gone out so soon after it was shown would have done so too with more of them on their way. It is about
/// half of what a full link takes for a window.
const SOON: Duration = Duration::from_millis(700);
/// Each such piece makes room for so many more than itself: twice as many are on their way a round trip later.
const GROWTH: usize = 1;
/// By how much it may exceed what a rate asks for: rates rise.
const SLACK: usize = 2;
/// Each piece on its way is looked at when one has gone out; of 1 MiB, so many last more than three seconds at 10 Gbit/s.
const MOST: usize = 4096;
/// How long a rate is measured.
const MEASURING: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pieces: usize,
    piece_len: u32,
    /// Since when something has gone out, how much, and how many bytes a second before that.
    since: Instant,
    sent: u64,
    rate: u64,
}

impl Window {
    /// Of a torrent with pieces of so many bytes.
    pub(crate) fn new(piece_len: u32, now: Instant) -> Self {
        Self { pieces: window(0, piece_len), piece_len, since: now, sent: 0, rate: 0 }
    }

    pub(crate) fn pieces(&self) -> usize {
        self.pieces
    }

    /// A piece has gone out so long after it was shown.
    pub(crate) fn sent(&mut self, waited: Duration) {
        self.sent = self.sent.saturating_add(self.piece_len.into());
        if waited < SOON {
            self.pieces = self.pieces.saturating_add(GROWTH).min(MOST);
        }
    }

    /// To be called now and then. Where nothing has gone out nobody has asked, which says nothing of the link.
    pub(crate) fn settle(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.since);
        if time < MEASURING {
            return;
        }
        if self.sent > 0 {
            let rate = u128::from(self.sent) * 1000 / time.as_millis().max(1);
            let before = std::mem::replace(&mut self.rate, u64::try_from(rate).unwrap_or(u64::MAX));
            let enough = window(self.rate.max(before), self.piece_len).saturating_mul(SLACK);
            self.pieces = self.pieces.min(enough);
        }
        (self.since, self.sent) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A link of so many bytes a second, over which a piece takes no less than a round trip: how long its queue is after a
    /// time, in pieces, and how much has gone out.
    fn run(rate: u64, piece_len: u32, round_trip: Duration, time: Duration) -> (usize, u64) {
        let start = Instant::now();
        let (mut now, mut window) = (start, Window::new(piece_len, start));
        let per_piece = Duration::from_secs_f64(f64::from(piece_len) / rate as f64);
        let mut on_their_way = VecDeque::new();
        let (mut link_is_free, mut sent) = (start, 0);
        while now < start + time {
            while on_their_way.len() < window.pieces() {
                link_is_free = link_is_free.max(now + round_trip) + per_piece;
                on_their_way.push_back((now, link_is_free));
            }
            let (shown, gone) = on_their_way.pop_front().unwrap();
            now = gone;
            window.sent(now - shown);
            window.settle(now);
            sent += u64::from(piece_len);
        }
        (window.pieces(), sent)
    }

    #[test]
    fn grows_from_a_cold_start_to_ten_gigabits_a_second_within_one() {
        let rate = 1_250_000_000;
        for (piece_len, round_trip) in [(1 << 20, 2), (1 << 20, 20), (4 << 20, 50)] {
            let time = Duration::from_secs(1);
            let (_, sent) = run(rate, piece_len, Duration::from_millis(round_trip), time);
            assert!(sent > rate / 2, "{sent} bytes with {round_trip} ms");
        }
    }

    #[test]
    fn keeps_about_a_second_of_a_thin_link_on_its_way() {
        let (pieces, _) = run(3_000_000, 128 << 10, Duration::from_millis(20), Duration::from_secs(30));
        assert!((12..=48).contains(&pieces), "{pieces} pieces of a 23rd of a second each");
    }

    #[test]
    fn never_grows_beyond_what_can_be_looked_at() {
        let mut window = Window::new(1 << 14, Instant::now());
        (0..=MOST).for_each(|_| window.sent(Duration::ZERO));
        assert_eq!(window.pieces(), MOST);
    }

    #[test]
    fn shrinks_with_the_rate_and_stays_where_nobody_asks() {
        let start = Instant::now();
        let mut window = Window::new(1 << 20, start);
        (0..1000).for_each(|_| window.sent(Duration::ZERO));
        window.settle(start + MEASURING);
        let fast = window.pieces();
        assert!(fast > 1000);
        window.settle(start + 5 * MEASURING);
        assert_eq!(window.pieces(), fast, "nobody asked");
        for second in 6..9 {
            (0..3).for_each(|_| window.sent(2 * SOON));
            window.settle(start + second * MEASURING);
        }
        assert!(window.pieces() <= 16, "{}", window.pieces());
    }
}
