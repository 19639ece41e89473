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
    /// What came and wasn't answered.
    pub(super) kept: Vec<u8>,
    /// When the client was last heard out.
    pub(super) since: Instant,
}

impl Talk {
    pub(super) fn new(own: Ends, direct: &Direct, now: Instant) -> Self {
        let introduction = direct.proxies.introduce(own.remote.ip());
        Self { own, asker: Ok(own), introduction, kept: Vec::new(), since: now }
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
                    desk.answer(&direct.announces, &direct.proxies, &self.asker, &question, now);
                    taken += question.len;
                    self.since = now;
                    if !question.keep_alive {
                        return (taken, Next::Close);
                    }
                }
            }
        }
        (taken, Next::Answer)
    }
}
