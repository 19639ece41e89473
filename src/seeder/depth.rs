//! How much of what is for a peer lies in its socket and in the queue before it: as much as lasts until there is more,
//! by how fast the peer takes it. Pure functions of the rate and of what the system gives its sockets.

use std::fs;

/// So long should it last that waits unsent in the socket of a slow peer. It can't be taken back when the peer is
/// choked or cancels, and what waits for many slow peers at a time is in the way of those who are unchoked next. Much
/// longer than a busy machine keeps a worker from it: who is slow only because it is seldom filled must not be filled
/// less for that.
const SLOW_LASTS_MILLIS: u64 = 500;
/// And so long in a fast one's: longer than a worker may be kept from it.
const FAST_LASTS_MILLIS: u64 = 8;
/// Enough blocks to be sent while the next are on their way.
const MIN_UNSENT: u32 = 128 * 1024;
/// What a peer of ordinary speed has, and one whose rate isn't known. Without a bound a socket takes 4 MiB for one that
/// doesn't read, and a few hundred such leave no memory to the others' sockets. At a quarter of this a GB took some 5
/// to 10% more processor time, at this no more than without any bound.
const USUAL_UNSENT: u32 = 1024 * 1024;
/// What lasts 8 ms at 16 Gbit/s.
const MAX_UNSENT: u32 = 16 * 1024 * 1024;
/// The most that is taken from the session at a time. It makes the copying dear and everything around it cheap; more
/// would only be older when sent.
const MAX_BATCH: u32 = 1024 * 1024;

/// What is on its way to a peer lies in its socket's buffer until it is acknowledged. The kernel lets that grow to a
/// maximum (`tcp_wmem`, 4 MiB by default), which is enough up to this rate if an answer takes 250 ms.
const LONGEST_ROUND_TRIP_MILLIS: u64 = 250;
/// What a fast peer's socket asks for, of which the kernel gives what `wmem_max` allows: more than what fills 10 Gbit/s
/// over 10 ms, which is 12 MiB.
const LONG_PATH_BUFFER: usize = 16 * 1024 * 1024;

/// One connection's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Depth {
    /// Bytes a second, by which it is as it is.
    rate: u64,
    unsent: u32,
    /// Whether the kernel's own maximum may be too little for what is on its way.
    is_long: bool,
}

impl Default for Depth {
    fn default() -> Self {
        Self { rate: 0, unsent: USUAL_UNSENT, is_long: false }
    }
}

impl Depth {
    /// What follows where the peer is measured to take so many bytes a second; as it begins, where it takes none. With
    /// each measurement it becomes less by half at most: the first ones after a pause are too small.
    pub(super) fn following(self, rate: u64, buffers: SendBuffers) -> Self {
        if rate == self.rate {
            return self;
        }
        if rate == 0 {
            return Self { is_long: self.is_long, ..Self::default() };
        }
        let bytes_in = |millis| rate.saturating_mul(millis) / 1000;
        let lasting = bytes_in(SLOW_LASTS_MILLIS).min(USUAL_UNSENT.into()).max(bytes_in(FAST_LASTS_MILLIS));
        // In powers of two, lest a rate that wavers change it each second.
        let unsent = lasting.clamp(MIN_UNSENT.into(), MAX_UNSENT.into()).next_power_of_two();
        let is_long = buffers.can_ask_for_more() && bytes_in(LONGEST_ROUND_TRIP_MILLIS) > buffers.grown;
        let unsent = u32::try_from(unsent).unwrap_or(MAX_UNSENT).max(self.unsent / 2);
        // A buffer that was asked for can't be given back to the kernel's own care.
        Self { rate, unsent, is_long: is_long || self.is_long }
    }

    /// Whether the socket is to be told something else by it than by another.
    pub(super) fn differs_from(self, other: Self) -> bool {
        (self.unsent, self.is_long) != (other.unsent, other.is_long)
    }

    /// How many bytes the socket takes that it can't send yet (`TCP_NOTSENT_LOWAT`). What is on its way has no part in
    /// it.
    pub(super) fn unsent(self) -> u32 {
        self.unsent
    }

    /// How many bytes of blocks are taken from the session before some of them are sent.
    pub(super) fn batch(self) -> usize {
        self.unsent.min(MAX_BATCH) as usize
    }

    /// What buffer to ask for (`SO_SNDBUF`), if for any: where one was asked for it grows no more by itself.
    pub(super) fn buffer(self) -> Option<usize> {
        self.is_long.then_some(LONG_PATH_BUFFER)
    }
}

/// What the system gives to a socket that sends, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SendBuffers {
    /// How far a buffer grows by itself.
    grown: u64,
    /// How large one can be that is asked for.
    asked: u64,
}

impl SendBuffers {
    /// As the system is set; where it can't be read nothing is asked for.
    pub(super) fn of_system() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap_or_default();
        Self::parse(&read("ipv4/tcp_wmem"), &read("core/wmem_max"))
    }

    fn parse(tcp_wmem: &str, wmem_max: &str) -> Self {
        let last = |text: &str| text.split_whitespace().last().and_then(|number| number.parse().ok());
        let (grown, wmem_max): (Option<u64>, Option<u64>) = (last(tcp_wmem), last(wmem_max));
        // The kernel gives twice of what it is asked for (socket(7)).
        let asked = wmem_max.unwrap_or(0).min(LONG_PATH_BUFFER as u64).saturating_mul(2);
        Self { grown: grown.unwrap_or(u64::MAX), asked }
    }

    fn can_ask_for_more(self) -> bool {
        self.asked > self.grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// What Linux 6 has, and an operator who lets buffers grow.
    fn stock() -> SendBuffers {
        SendBuffers::parse("4096\t16384\t4194304\n", "4194304\n")
    }

    fn raised() -> SendBuffers {
        SendBuffers::parse("4096 16384 67108864", "4194304")
    }

    /// After many seconds at a rate.
    fn at(rate: u64, buffers: SendBuffers) -> Depth {
        (0..10).fold(Depth::default(), |depth, n| depth.following(rate.saturating_sub(n % 2), buffers))
    }

    #[test]
    fn holds_what_lasts_half_a_second_for_a_slow_peer_and_a_moment_for_a_fast_one() {
        let unsent = |rate| u64::from(at(rate, stock()).unsent());
        assert_eq!(unsent(0), u64::from(USUAL_UNSENT));
        assert_eq!([10, 10_000, 200_000].map(unsent), [u64::from(MIN_UNSENT); 3]);
        assert_eq!(unsent(500_000), 256 * 1024);
        assert_eq!([2 * MIB, 100 * MIB, 120 * MIB].map(unsent), [MIB; 3]);
        assert_eq!(unsent(1_250_000_000), 16 * MIB);
        assert_eq!(unsent(u64::MAX), u64::from(MAX_UNSENT));
    }

    #[test]
    fn becomes_more_at_once_and_less_by_halves() {
        let mut depth = Depth::default();
        let mut unsent = |rate| {
            depth = depth.following(rate, stock());
            depth.unsent() / 1024
        };
        assert_eq!([10, 11, 11, 12, 13].map(&mut unsent), [512, 256, 256, 128, 128]);
        assert_eq!(unsent(100_000_000), 1024);
    }

    #[test]
    fn takes_no_more_from_the_session_than_the_socket_has_room_for() {
        let batch = |rate| at(rate, stock()).batch() as u64;
        assert_eq!([batch(10), batch(8 * MIB), batch(u64::MAX)], [u64::from(MIN_UNSENT), MIB, MIB]);
    }

    #[test]
    fn asks_for_a_buffer_only_where_it_is_larger_than_what_comes_by_itself() {
        let asks = |rate, buffers| at(rate, buffers).buffer().is_some();
        assert!(asks(1_250_000_000, stock()));
        assert!(!asks(1_000_000, stock()), "what grows by itself is enough");
        assert!(at(1_250_000_000, stock()).following(0, stock()).buffer().is_some(), "it keeps it");
        assert!(!asks(1_250_000_000, raised()));
        assert!(!asks(1_250_000_000, SendBuffers::parse("4096 16384 4194304", "212992")));
        assert!(!asks(1_250_000_000, SendBuffers::parse("", "")), "nothing is known");
    }
}
