//! One connection's side of the protocol, without its socket: bytes that came go in, bytes to send pile up in `out`.
//!
//! It has nothing, wants everything, and keeps as many requests under way as it may. What a seeder does to its requests
//! is taken as it comes: refused ones (BEP 6) and those that a choke dropped are asked for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use distributor_load::wire::{self, HANDSHAKE_LEN, Handshake, PIECE_HEADER_LEN, id};
use distributor_load::{Block, Torrent};

use crate::check::Check;
use crate::conversation::Conversation;
use crate::report::Tally;
use crate::walk::Walk;

/// The longest message beside `piece`: the bitfield of four million pieces.
const MAX_MESSAGE_LEN: u32 = 512 * 1024;
/// After so long without a byte, what was asked for was dropped without a word.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct Peer {
    /// Still to be written to the socket.
    out: Vec<u8>,
    check: Option<Check>,
    /// How many requests may be under way.
    depth: usize,
    walk: Walk,
    asked: VecDeque<Asked>,
    /// The block whose data is coming.
    coming: Option<Coming>,
    /// The start of what isn't the data of a block, up to where its length is known, then all of it.
    message: Vec<u8>,
    greeted: bool,
    fast: bool,
    choked: bool,
    heard: Instant,
}

struct Asked {
    block: Block,
    at: Instant,
}

struct Coming {
    block: Block,
    /// When it was asked for, if it was.
    asked: Option<Instant>,
    /// How much of it is here.
    len: u32,
}

impl Peer {
    pub(crate) fn new(
        torrent: &Torrent,
        peer_id: [u8; 20],
        depth: u32,
        walk: Walk,
        check: bool,
        now: Instant,
    ) -> Self {
        let handshake = Handshake { info_hash: torrent.info_hash(), peer_id, fast: true, extended: true };
        Self {
            out: handshake.encode().to_vec(),
            check: check.then(Check::default),
            depth: depth as usize,
            walk,
            asked: VecDeque::new(),
            coming: None,
            message: Vec::new(),
            greeted: false,
            fast: false,
            choked: true,
            heard: now,
        }
    }

    /// As long as the message must be for its next part to be understood.
    fn message_len(&self) -> anyhow::Result<usize> {
        if !self.greeted {
            return Ok(HANDSHAKE_LEN);
        }
        let Some(len) = wire::number(&self.message, 0) else { return Ok(4) };
        match self.message.get(4) {
            None if len == 0 => Ok(4),
            None => Ok(5),
            Some(&id::PIECE) => Ok(PIECE_HEADER_LEN),
            Some(id) => {
                ensure!(len <= MAX_MESSAGE_LEN, "a message of {len} bytes with id {id}");
                Ok(4 + len as usize)
            }
        }
    }

    fn message(&mut self, torrent: &Torrent, message: &[u8]) -> anyhow::Result<()> {
        if !self.greeted {
            return self.handshake(torrent, message);
        }
        let (Some((&id, body)), Some(len)) =
            (message.get(4..).and_then(<[u8]>::split_first), wire::number(message, 0))
        else {
            // A keep-alive.
            return Ok(());
        };
        match id {
            id::CHOKE => {
                self.choked = true;
                // BEP 6: with it, each is refused by a message of its own.
                if !self.fast {
                    self.drop_asked();
                }
            }
            id::UNCHOKE => self.choked = false,
            id::PIECE => {
                let data = len.checked_sub(PIECE_HEADER_LEN as u32 - 4).context("a short piece message")?;
                let begin = wire::number(body, 4).unwrap_or_default();
                let block = Block { piece: wire::number(body, 0).unwrap_or_default(), begin, len: data };
                torrent.range(block).with_context(|| format!("{block:?} isn't in the torrent"))?;
                let asked = self.take_asked(block);
                self.coming = Some(Coming { block, asked, len: 0 });
            }
            id::REJECT => {
                let block = wire::block(body).context("a short reject")?;
                if self.take_asked(block).is_some() {
                    self.walk.put_back(block);
                    if !self.choked {
                        self.depth = self.asked.len().clamp(1, self.depth);
                    }
                }
            }
            id::EXTENDED => {
                if let Some(most) = most_requests(body) {
                    self.depth = self.depth.min(most.max(1));
                }
            }
            // What it has: everything, or it would be no seeder.
            _ => {}
        }
        Ok(())
    }

    fn handshake(&mut self, torrent: &Torrent, message: &[u8]) -> anyhow::Result<()> {
        let theirs =
            message.first_chunk().and_then(Handshake::decode).context("it doesn't speak BitTorrent")?;
        ensure!(theirs.info_hash == torrent.info_hash(), "it answers with another torrent");
        self.greeted = true;
        self.fast = theirs.fast;
        if self.fast {
            // BEP 6: one of bitfield, have-all and have-none must come first. Without it, none means nothing.
            self.out.extend(wire::bare(id::HAVE_NONE));
        }
        self.out.extend(wire::bare(id::INTERESTED));
        Ok(())
    }

    fn ask(&mut self, torrent: &Torrent, now: Instant) {
        while !self.choked && self.asked.len() + usize::from(self.coming.is_some()) < self.depth {
            let Some(block) = self.walk.next(torrent) else { break };
            self.out.extend(wire::request(block));
            self.asked.push_back(Asked { block, at: now });
        }
    }

    /// When this was asked for, if it was: mostly the longest ago.
    fn take_asked(&mut self, block: Block) -> Option<Instant> {
        let at = self.asked.iter().position(|asked| asked.block == block)?;
        Some(self.asked.remove(at)?.at)
    }

    fn drop_asked(&mut self) {
        for asked in self.asked.drain(..) {
            self.walk.put_back(asked.block);
        }
    }
}

impl Conversation for Peer {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn walk(&mut self) -> Option<&mut Walk> {
        Some(&mut self.walk)
    }

    fn checked(&self) -> (u64, u64) {
        self.check.as_ref().map_or((0, 0), |check| (check.right, check.wrong))
    }

    fn is_over(&self) -> bool {
        self.walk.is_over() && self.asked.is_empty() && self.coming.is_none()
    }

    fn received(
        &mut self,
        torrent: &Torrent,
        mut bytes: &[u8],
        now: Instant,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        self.heard = now;
        while !bytes.is_empty() {
            if let Some(coming) = &mut self.coming {
                let wanted = (coming.block.len - coming.len) as usize;
                let (data, rest) = bytes.split_at(wanted.min(bytes.len()));
                // What nobody asked for may be there twice.
                if let (Some(check), Some(_)) = (&mut self.check, coming.asked) {
                    check.take(torrent, coming.block, coming.len, data);
                }
                coming.len += data.len() as u32;
                tally.data(data.len());
                if coming.len == coming.block.len {
                    if let Some(asked) = coming.asked {
                        tally.block(now - asked);
                    }
                    self.coming = None;
                }
                bytes = rest;
            } else {
                let wanted = self.message_len()?.saturating_sub(self.message.len());
                let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.message.extend_from_slice(part);
                bytes = rest;
                if self.message.len() == self.message_len()? {
                    let message = std::mem::take(&mut self.message);
                    self.message(torrent, &message)?;
                    self.message = message;
                    self.message.clear();
                }
            }
        }
        self.ask(torrent, now);
        Ok(())
    }

    /// Asks for more, and again for what was dropped, which is less at a time.
    fn tick(&mut self, torrent: &Torrent, now: Instant) {
        if !self.asked.is_empty() && self.coming.is_none() && now - self.heard > FORGOTTEN_AFTER {
            self.heard = now;
            self.depth = (self.asked.len() / 2).max(1);
            self.drop_asked();
        }
        self.ask(torrent, now);
    }
}

/// How many requests the seeder takes, where its extended handshake says so (`reqq` in BEP 10). Looked for rather than
/// parsed: no other key ends so.
fn most_requests(body: &[u8]) -> Option<usize> {
    const KEY: &[u8] = b"4:reqqi";
    let (0, dictionary) = body.split_first().map(|(id, rest)| (*id, rest))? else { return None };
    let at = dictionary.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = dictionary[at..].split(|byte| *byte == b'e').next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests;
