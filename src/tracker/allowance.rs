//! How much one address may ask, so that whoever asks without end takes nobody else's time. Owns the account of each;
//! what is asked, and what those are told who ask too much, is not known here.
//!
//! An account is one number: the moment at which all that was asked is paid for, at the address's rate. It may lie
//! [`BURST`] ahead of now, and for who waits its turn [`MAX_WAIT`] more (the "virtual scheduling" form of the leaky
//! bucket, ITU-T I.371). To ask takes the lock of a few accounts and a look at each of them, however many there are.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::address::group_of;
use super::lock;

/// An address may ask at once what it may ask in this time: a host with a thousand torrents, or a thousand hosts behind
/// one translated address, that all begin in the same second, ask so.
const BURST: Duration = Duration::from_secs(4);
/// How long at most a connection waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How often it is news that an address asks too much.
const NEWS_PERIOD: Duration = Duration::from_secs(1);
/// Accounts lie in so many sets, each under a lock of its own and of so many: 32,768 that are in use, in a megabyte. For
/// one more the least indebted of a set is forgotten, which of those who ask too much none is.
const SETS: usize = 4096;
const WAYS: usize = 8;

/// The accounts of all addresses; an IPv6 /64 is one.
#[derive(Debug)]
pub(crate) struct Allowances {
    /// How many nanoseconds one question takes; none where everybody may ask as much as they like.
    cost: Option<u64>,
    since: Instant,
    sets: Box<[Mutex<Set>]>,
    /// Nobody knows whose set they could fill.
    seed: RandomState,
}

type Set = [Account; WAYS];

/// Times are nanoseconds since the tracker began.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// The hash of the address, which no two share but by a chance that never comes.
    owner: u64,
    /// When all that was asked is paid for.
    paid: u64,
    /// When it is news again that it asks too much.
    news: u64,
}

/// An address has asked more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many announces come from your address")]
pub(crate) struct AsksTooMuch {
    /// Whether that is worth a word: it wasn't said a moment ago.
    pub(crate) is_news: bool,
}

impl AsksTooMuch {
    /// How many minutes later to ask again (BEP 31). It would do to wait for a second.
    pub(crate) const RETRY_IN: u32 = 1;
}

impl Allowances {
    /// So many questions a second for each address, or any number.
    pub(crate) fn new(rate: Option<NonZeroU32>, now: Instant) -> Self {
        let cost = rate.map(|rate| 1_000_000_000 / u64::from(rate.get()));
        let sets = if cost.is_some() { SETS } else { 0 };
        let sets = (0..sets).map(|_| Mutex::default()).collect();
        Self { cost, since: now, sets, seed: RandomState::new() }
    }

    /// Has an address pay for a question that is to be answered now.
    ///
    /// # Errors
    ///
    /// When it can't.
    pub(crate) fn pay(&self, ip: IpAddr, now: Instant) -> Result<(), AsksTooMuch> {
        self.with(ip, now, |account, cost, now| {
            if account.charge(cost, now, nanoseconds(BURST)).is_some() {
                return Ok(());
            }
            let is_news = account.news <= now;
            if is_news {
                account.news = now.saturating_add(nanoseconds(NEWS_PERIOD));
            }
            Err(AsksTooMuch { is_news })
        })
        .unwrap_or(Ok(()))
    }

    /// Has an address pay for a question to come, and says how long that has to wait, which mostly is not at all. `None`
    /// where as many wait as may.
    pub(crate) fn reserve(&self, ip: IpAddr, now: Instant) -> Option<Duration> {
        self.with(ip, now, |account, cost, now| {
            let ahead = account.charge(cost, now, nanoseconds(BURST) + nanoseconds(MAX_WAIT))?;
            Some(Duration::from_nanos(ahead.saturating_sub(nanoseconds(BURST))))
        })
        .unwrap_or(Some(Duration::ZERO))
    }

    /// Works on an address's account, where there are any: on that, the cost of a question, and the time.
    fn with<T>(&self, ip: IpAddr, now: Instant, work: impl FnOnce(&mut Account, u64, u64) -> T) -> Option<T> {
        let cost = self.cost?;
        let now = nanoseconds(now.saturating_duration_since(self.since));
        let ip = ip.to_canonical();
        let owner = self.seed.hash_one((ip.is_ipv4(), group_of(ip)));
        let set = self.sets.get(usize::try_from(owner % SETS as u64).ok()?)?;
        let mut set = lock(set);
        Some(work(find(&mut set, owner)?, cost, now))
    }
}

/// The account of this owner, in the place of the least indebted if it has none yet.
fn find(set: &mut Set, owner: u64) -> Option<&mut Account> {
    let known = set.iter().position(|account| account.owner == owner);
    let least = || (0..WAYS).min_by_key(|at| set.get(*at).map(|account| account.paid));
    let at = known.or_else(least)?;
    let account = set.get_mut(at)?;
    if account.owner != owner {
        *account = Account { owner, ..Account::default() };
    }
    Some(account)
}

impl Account {
    /// Adds a question, unless that leads farther ahead of now than it may; says how far.
    fn charge(&mut self, cost: u64, now: u64, most: u64) -> Option<u64> {
        let paid = self.paid.max(now).saturating_add(cost);
        let ahead = paid.saturating_sub(now);
        if ahead > most.max(cost) {
            return None;
        }
        self.paid = paid;
        Some(ahead)
    }
}

/// Enough for five hundred years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 10;
    const COST: Duration = Duration::from_millis(100);
    /// What may be asked at once.
    const AT_ONCE: usize = 40;
    const LATER: Duration = Duration::from_nanos(1);

    struct Room {
        allowances: Allowances,
        now: Instant,
    }

    impl Room {
        fn new() -> Self {
            let now = Instant::now();
            Self { allowances: Allowances::new(NonZeroU32::new(RATE), now), now }
        }

        fn pay(&self, ip: &str) -> Result<(), AsksTooMuch> {
            self.allowances.pay(ip.parse().unwrap(), self.now)
        }

        /// Asks until that is too much; says how often it wasn't.
        fn spend(&self, ip: &str) -> usize {
            (0..).take_while(|_| self.pay(ip).is_ok()).count()
        }

        fn reserve(&self, ip: &str) -> Option<Duration> {
            self.allowances.reserve(ip.parse().unwrap(), self.now)
        }
    }

    #[test]
    fn an_address_may_ask_so_much_at_once_and_then_at_its_rate() {
        let mut room = Room::new();
        assert_eq!(room.spend("10.0.0.1"), AT_ONCE);
        room.now += COST - LATER;
        assert_eq!(room.spend("10.0.0.1"), 0, "what is refused costs nothing, nor does it give anything");
        room.now += LATER;
        assert_eq!(room.spend("10.0.0.1"), 1);
        room.now += BURST;
        assert_eq!(room.spend("10.0.0.1"), AT_ONCE);
        room.now += 100 * BURST;
        assert_eq!(room.spend("10.0.0.1"), AT_ONCE, "no more than that is saved up");
    }

    #[test]
    fn what_one_address_asks_is_not_paid_by_its_neighbours() {
        let room = Room::new();
        room.spend("10.0.0.1");
        assert_eq!([room.spend("10.0.0.2"), room.spend("2001:db8:0:1::1")], [AT_ONCE; 2]);
        assert_eq!(room.spend("::ffff:10.0.0.1"), 0, "it is the same one");
        assert_eq!(room.spend("2001:db8:0:1:2::3"), 0, "a host has a whole /64 of them");
        assert_eq!(room.spend("2001:db8:0:2::1"), AT_ONCE);
    }

    #[test]
    fn connections_wait_for_their_turn_and_no_more_of_them_than_may() {
        let mut room = Room::new();
        assert!((0..AT_ONCE).all(|_| room.reserve("10.0.0.1") == Some(Duration::ZERO)));
        for turn in 1..=RATE {
            assert_eq!(room.reserve("10.0.0.1"), Some(COST * turn));
        }
        assert_eq!(room.reserve("10.0.0.1"), None);
        assert_eq!(room.reserve("10.0.0.2"), Some(Duration::ZERO));
        assert!(room.pay("10.0.0.1").is_err(), "those who wait go first");
        room.now += COST;
        assert_eq!([room.reserve("10.0.0.1"), room.reserve("10.0.0.1")], [Some(MAX_WAIT), None]);
        room.now += MAX_WAIT + COST;
        assert_eq!(room.spend("10.0.0.1"), 1);
    }

    #[test]
    fn says_once_a_second_that_an_address_asks_too_much() {
        let mut room = Room::new();
        room.spend("10.0.0.1");
        room.now += COST / 2;
        let said = |room: &Room| room.pay("10.0.0.1").map_err(|error| error.is_news);
        // The first time was while it was spent.
        assert_eq!(said(&room), Err(false));
        room.now += NEWS_PERIOD;
        room.spend("10.0.0.1");
        assert_eq!(said(&room), Err(false));
        room.now += NEWS_PERIOD;
        assert!((0..RATE).all(|_| said(&room).is_ok()));
        assert_eq!([said(&room), said(&room)], [Err(true), Err(false)]);
    }

    #[test]
    fn one_that_asks_too_much_is_not_forgotten_however_many_others_ask() {
        let room = Room::new();
        room.spend("10.255.0.1");
        let set = room.allowances.sets.len();
        assert_eq!(set, SETS);
        for n in 0..4 * (SETS * WAYS) as u32 {
            let ip: IpAddr = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
            assert_eq!(room.allowances.pay(ip, room.now), Ok(()));
        }
        assert!(room.pay("10.255.0.1").is_err());
    }

    #[test]
    fn everybody_may_ask_as_much_as_they_like_where_there_is_no_limit() {
        let now = Instant::now();
        let (allowances, ip) = (Allowances::new(None, now), "10.0.0.1".parse().unwrap());
        for _ in 0..1_000_000 {
            assert_eq!(allowances.pay(ip, now), Ok(()));
            assert_eq!(allowances.reserve(ip, now), Some(Duration::ZERO));
        }
    }

    #[test]
    fn the_slowest_and_the_fastest_rate_there_can_be_let_some_through() {
        for (rate, at_once) in [(1, 4), (u32::MAX, 1000)] {
            let now = Instant::now();
            let (allowances, ip) = (Allowances::new(NonZeroU32::new(rate), now), "10.0.0.1".parse().unwrap());
            assert!((0..at_once).all(|_| allowances.pay(ip, now).is_ok()), "{rate}");
        }
    }
}
