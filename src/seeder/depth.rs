//! How much of what is for a peer lies in its socket and in the queue before it: as much as lasts until there is more,
//! by how fast the peer takes it. Pure functions of the rate and of what the system gives its sockets.

use std::fs;

/// So long should it last that waits unsent in the socket of a slow peer. It can't be taken back when the peer is choked
/// or cancels, and what waits for many slow peers at a time is in the way of those who are unchoked next.
const SLOW_LASTS_MILLIS: u64 = 125;
/// And so long in a fast one's: longer than a worker may be kept from it.
const FAST_LASTS_MILLIS: u64 = 8;
/// Enough blocks to be sent while the next are on their way.
const MIN_UNSENT: u32 = 128 * 1024;
/// What a peer begins with, whose rate isn't known.
const FIRST_UNSENT: u32 = 256 * 1024;
/// What a peer of ordinary speed has. Without a bound a socket takes 4 MiB for one that doesn't read, and a few hundred
/// such leave no memory to the others' sockets. At a quarter of this a GB took some 5 to 10% more processor time, at this
/// no more than without any bound.
const USUAL_UNSENT: u32 = 1024 * 1024;
/// What lasts 8 ms at 16 Gbit/s.
const MAX_UNSENT: u32 = 16 * 1024 * 1024;
/// The most that is taken from the session at a time. It makes the copying dear and everything around it cheap; more would
/// only be older when sent.
const MAX_BATCH: u32 = 1024 * 1024;

/// What is on its way to a peer lies in its socket's buffer until it is acknowledged. The kernel lets that grow to a
/// maximum (`tcp_wmem`, 4 MiB by default), which is enough up to this rate if an answer takes 250 ms.
const LONGEST_ROUND_TRIP_MILLIS: u64 = 250;
/// What a fast peer's socket asks for, of which the kernel gives what `wmem_max` allows: more than what fills 10 Gbit/s
/// over 10 ms, which is 12 MiB.
const LONG_PATH_BUFFER: usize = 16 * 1024 * 1024;

/// One connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    unsent: u32,
    /// Whether the kernel's own maximum may be too little for what is on its way.
    is_long: bool,
}

impl Default for Depth {
    fn default() -> Self {
        Self { unsent: FIRST_UNSENT, is_long: false }
    }
}

impl Depth {
    /// Of a peer that takes so many bytes a second; as it begins, where none are known to be taken.
    pub(super) fn of(rate: u64, buffers: SendBuffers) -> Self {
        if rate == 0 {
            return Self::default();
        }
        let bytes_in = |millis| rate.saturating_mul(millis) / 1000;
        let lasting = bytes_in(SLOW_LASTS_MILLIS).min(USUAL_UNSENT.into()).max(bytes_in(FAST_LASTS_MILLIS));
        // In powers of two, lest a rate that wavers change it each second.
        let unsent = lasting.clamp(MIN_UNSENT.into(), MAX_UNSENT.into()).next_power_of_two();
        let is_long = buffers.can_ask_for_more() && bytes_in(LONGEST_ROUND_TRIP_MILLIS) > buffers.grown;
        Self { unsent: u32::try_from(unsent).unwrap_or(MAX_UNSENT), is_long }
    }

    /// How many bytes the socket takes that it can't send yet (`TCP_NOTSENT_LOWAT`). What is on its way has no part in it.
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

    #[test]
    fn holds_what_lasts_an_eighth_of_a_second_for_a_slow_peer_and_a_moment_for_a_fast_one() {
        let unsent = |rate| u64::from(Depth::of(rate, stock()).unsent());
        assert_eq!(unsent(0), u64::from(FIRST_UNSENT));
        assert_eq!([1, 10_000, 1_000_000].map(unsent), [u64::from(MIN_UNSENT); 3]);
        assert_eq!(unsent(2_000_000), 256 * 1024);
        assert_eq!([8 * MIB, 100 * MIB, 120 * MIB].map(unsent), [MIB; 3]);
        assert_eq!(unsent(1_250_000_000), 16 * MIB);
        assert_eq!(unsent(u64::MAX), u64::from(MAX_UNSENT));
    }

    #[test]
    fn takes_no_more_from_the_session_than_the_socket_has_room_for() {
        let batch = |rate| Depth::of(rate, stock()).batch() as u64;
        assert_eq!([batch(1), batch(8 * MIB), batch(u64::MAX)], [u64::from(MIN_UNSENT), MIB, MIB]);
    }

    #[test]
    fn asks_for_a_buffer_only_where_it_is_larger_than_what_comes_by_itself() {
        let asks = |rate, buffers| Depth::of(rate, buffers).buffer().is_some();
        assert!(asks(1_250_000_000, stock()));
        assert!(!asks(1_000_000, stock()), "what grows by itself is enough");
        assert!(!asks(1_250_000_000, raised()));
        assert!(!asks(1_250_000_000, SendBuffers::parse("4096 16384 4194304", "212992")));
        assert!(!asks(1_250_000_000, SendBuffers::parse("", "")), "nothing is known");
    }
}
