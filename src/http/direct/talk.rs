//! What is said on one connection, as far as it is announces and scrapes: from the bytes that came to the bytes that go,
//! and what is to be done next. Knows no socket.

use std::mem;
use std::time::Instant;

use distributor_proto::ProxyHeader;
use tracing::warn;

use super::super::connections::MAX_HEAD_LEN;
use super::super::proxies::ForwardedError;
use super::Direct;
use super::desk::Desk;
use super::head::{self, Head};
use crate::announce::Ends;

/// How many questions are answered before what was answered is written, and others have their turn. No client asks a second
/// one before the first is answered; who asks a thousand together takes no more time at a stretch than others do.
const MAX_AT_ONCE: usize = 4;

/// Said to a trusted proxy that doesn't say for whom it asks, though it should.
const UNINTRODUCED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    connections from trusted proxies begin with a PROXY header here, as --proxy-protocol says\n";

/// What is to be done once answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read, and say what came.
    Read,
    /// Have the questions answered that came already.
    Answer,
    /// Close the connection.
    Close,
    /// Have the rest served by hyper.
    HandOver,
}

/// One connection's conversation.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) own: Ends,
    /// Who asks, unless a request says otherwise; or why nobody can be asking.
    pub(super) asker: Result<Ends, ForwardedError>,
    /// Whether a PROXY header is still to come.
    introduction: bool,
    /// Whether the next question is paid for: the first is, as its connection was let in.
    is_paid: bool,
    /// What came and wasn't answered.
    pub(super) kept: Vec<u8>,
    /// When the client was last heard out.
    pub(super) since: Instant,
}

impl Talk {
    pub(super) fn new(own: Ends, direct: &Direct, now: Instant) -> Self {
        let introduction = direct.proxies.introduce(own.remote.ip());
        let is_paid = direct.has_paid(own.remote.ip());
        Self { own, asker: Ok(own), introduction, is_paid, kept: Vec::new(), since: now }
    }

    /// Takes what came. Answers lie on the desk then.
    pub(super) fn hear(&mut self, bytes: &[u8], direct: &Direct, desk: &mut Desk, now: Instant) -> Next {
        if self.kept.is_empty() {
            let (taken, next) = self.take(bytes, direct, desk, now);
            self.kept.extend_from_slice(bytes.get(taken..).unwrap_or_default());
            return next;
        }
        // Without a line's end no head is complete, nor is one refused: it isn't parsed again for each byte.
        let is_same = !bytes.is_empty() && !bytes.contains(&b'\n') && !self.introduction;
        self.kept.extend_from_slice(bytes);
        if is_same && self.kept.len() < MAX_HEAD_LEN {
            return Next::Read;
        }
        let mut kept = mem::take(&mut self.kept);
        let (taken, next) = self.take(&kept, direct, desk, now);
        kept.drain(..taken.min(kept.len()));
        // Those who have said all wait without memory.
        self.kept = if kept.is_empty() { Vec::new() } else { kept };
        next
    }

    /// Says how much of it was understood.
    fn take(&mut self, bytes: &[u8], direct: &Direct, desk: &mut Desk, now: Instant) -> (usize, Next) {
        let mut taken = 0;
        if self.introduction {
            match ProxyHeader::parse(bytes) {
                Ok(None) => return (0, Next::Read),
                Ok(Some((header, len))) => {
                    taken = len;
                    self.introduction = false;
                    self.asker = direct.proxies.introduced(self.own, header);
                }
                Err(error) => {
                    warn!(proxy = %self.own.remote, "a connection from a trusted proxy is refused: {error}");
                    desk.out.extend_from_slice(UNINTRODUCED);
                    return (bytes.len(), Next::Close);
                }
            }
        }
        for _ in 0..MAX_AT_ONCE {
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                return (taken, Next::Read);
            }
            match head::read(rest) {
                Head::Partial => return (taken, Next::Read),
                Head::Other => return (taken, Next::HandOver),
                Head::Question(question) => {
                    taken += question.len;
                    self.since = now;
                    let is_paid = mem::take(&mut self.is_paid);
                    if !desk.answer(direct, &self.asker, is_paid, question, now) {
                        return (taken, Next::Close);
                    }
                }
            }
        }
        (taken, Next::Answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::proxies::Proxies;
    use super::*;
    use crate::announce::tests::of_nothing;
    use crate::config::HttpConfig;
    use crate::metrics::Metrics;
    use crate::tracker::Allowances;
    use std::num::NonZeroU32;
    use std::time::Duration;

    const QUESTION: &str = "GET /scrape HTTP/1.1\r\n\r\n";
    /// What an address may ask at once where it may ask one question a second.
    const AT_ONCE: usize = 4;

    struct Room {
        direct: Direct,
        now: Instant,
    }

    impl Room {
        fn new(trusted: &[&str]) -> Self {
            let now = Instant::now();
            let announces = of_nothing(Allowances::new(NonZeroU32::new(1), now), now);
            let trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
            let config = HttpConfig { trusted_proxies, ..HttpConfig::default() };
            let direct = Direct::new(announces.into(), Proxies::new(&config), None, &Metrics::default());
            Self { direct, now }
        }

        /// A connection that was let in.
        fn talk(&self, from: &str) -> Talk {
            let remote = format!("{from}:5000").parse().unwrap();
            let own = Ends { local: "10.0.0.1:6969".parse().unwrap(), remote };
            assert_eq!(self.direct.let_in(remote.ip(), self.now), Some(Duration::ZERO));
            Talk::new(own, &self.direct, self.now)
        }

        fn ask(&self, talk: &mut Talk, question: &str) -> (Next, String) {
            let mut desk = Desk::default();
            let next = talk.hear(question.as_bytes(), &self.direct, &mut desk, self.now);
            (next, String::from_utf8(desk.out).unwrap())
        }

        /// Asks until that is too much; says how often it wasn't.
        fn spend(&self, talk: &mut Talk, question: &str) -> usize {
            (0..).take_while(|_| self.ask(talk, question).0 == Next::Read).count()
        }
    }

    #[test]
    fn who_asks_too_much_is_told_when_to_come_again_and_his_connection_ends() {
        let mut room = Room::new(&[]);
        let mut flooder = room.talk("10.0.0.2");
        assert_eq!(room.spend(&mut flooder, QUESTION), AT_ONCE, "the first was paid for as it was let in");
        let (next, refusal) = room.ask(&mut flooder, QUESTION);
        assert_eq!(next, Next::Close);
        assert!(refusal.contains("\r\nconnection: close\r\n"), "{refusal}");
        let body = refusal.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(body, "d14:failure reason41:too many announces come from your address8:retry ini1ee");
        assert_eq!(room.spend(&mut room.talk("10.0.0.3"), QUESTION), AT_ONCE, "nobody else is refused");
        room.now += Duration::from_secs(1);
        assert_eq!(room.ask(&mut flooder, QUESTION).0, Next::Read);
        assert_eq!(room.ask(&mut flooder, QUESTION).0, Next::Close);
    }

    #[test]
    fn connections_of_one_that_asks_too_much_wait_and_then_are_closed() {
        let room = Room::new(&[]);
        let let_in = |ip: &str| room.direct.let_in(ip.parse().unwrap(), room.now);
        assert!((0..AT_ONCE).all(|_| let_in("10.0.0.2") == Some(Duration::ZERO)));
        assert_eq!([let_in("10.0.0.2"), let_in("10.0.0.2")], [Some(Duration::from_secs(1)), None]);
        assert_eq!(let_in("10.0.0.3"), Some(Duration::ZERO));
        let counted = [&room.direct.waited, &room.direct.closed].map(|counter| counter.get());
        assert_eq!(counted, [1, 1]);
    }

    #[test]
    fn who_asks_through_a_trusted_proxy_pays_for_himself() {
        let room = Room::new(&["10.0.0.2"]);
        let question =
            |asker: &str| QUESTION.replace("\r\n\r\n", &format!("\r\nX-Forwarded-For: {asker}\r\n\r\n"));
        let mut proxy = room.talk("10.0.0.2");
        for asker in ["192.0.2.1", "192.0.2.2"] {
            assert_eq!(room.spend(&mut proxy, &question(asker)), AT_ONCE, "{asker}");
        }
        assert!((0..2 * AT_ONCE).all(|_| room.direct.let_in(proxy.own.remote.ip(), room.now).is_some()));
    }
}
