//! Requests that wait for their blocks, and those that are refused (BEP 3, 6).
//!
//! Owns the queue and how much of it goes out under choke. Refuses to leave a request without an answer: where
//! BEP 6 is negotiated, each gets its block or one reject.

use std::{collections::VecDeque, mem};

use super::{Session, Violation, messages::Worth};
use crate::{
    allowed_fast::allowed_fast_set,
    geometry::{Block, Geometry, PieceIndex},
    message::Message,
};

/// How many times over a choked peer may have the bytes of its allowed-fast set. The second is for what got lost;
/// one that could ask for ever would be going round the choker.
const FAST_COPIES: u64 = 2;

/// The most bytes that go out under choke, however long the pieces are.
const MAX_FAST_BYTES: u64 = 64 * 1024 * 1024;

/// The queue. Who fills it holds it to the configuration's limit.
#[derive(Debug, Default)]
pub(super) struct Requests {
    queue: VecDeque<Block>,
    /// How many bytes those blocks have.
    queued: u64,
    /// The pieces that the peer may ask for while choked.
    fast: Vec<PieceIndex>,
    /// How many bytes may still go out to it while choked.
    fast_left: u64,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn allow_fast(&mut self, set: Vec<PieceIndex>, geometry: &Geometry) {
        let bytes = set.iter().map(|piece| geometry.piece_range(*piece)).map(|range| range.end - range.start);
        self.fast_left = bytes.sum::<u64>().saturating_mul(FAST_COPIES).min(MAX_FAST_BYTES);
        self.fast = set;
    }

    /// Whether one more block may go out while the peer is choked, after all that wait.
    fn may_go_choked(&self, block: Block) -> bool {
        self.fast.contains(&block.piece()) && self.queued + u64::from(block.len()) <= self.fast_left
    }

    fn push(&mut self, block: Block) {
        self.queued += u64::from(block.len());
        self.queue.push_back(block);
    }

    /// The next block to go out.
    pub(super) fn pop(&mut self, unchoked: bool) -> Option<Block> {
        let block = self.queue.pop_front()?;
        self.queued -= u64::from(block.len());
        if !unchoked {
            self.fast_left = self.fast_left.saturating_sub(block.len().into());
        }
        Some(block)
    }

    /// Takes out the first request for exactly this.
    fn cancel(&mut self, index: u32, begin: u32, length: u32) -> Option<Block> {
        let wanted =
            |block: &Block| (block.piece().get(), block.begin(), block.len()) == (index, begin, length);
        let position = self.queue.iter().position(wanted)?;
        let block = self.queue.remove(position)?;
        self.queued -= u64::from(block.len());
        Some(block)
    }

    /// Takes out all, and gives the memory back.
    fn take_all(&mut self) -> VecDeque<Block> {
        self.queued = 0;
        mem::take(&mut self.queue)
    }

    /// Takes out all that may not go out while the peer is choked, in order.
    fn choke(&mut self) -> Vec<Block> {
        let mut refused = Vec::new();
        for block in self.take_all() {
            if self.may_go_choked(block) {
                self.push(block);
            } else {
                refused.push(block);
            }
        }
        refused
    }
}

impl Session {
    /// How many requests may wait.
    pub(super) fn max_queued(&self) -> usize {
        self.config.max_queued_requests.max(1)
    }

    /// Tells a peer that has next to nothing what it may ask for at once; later it has something to trade.
    pub(super) fn offer_fast_pieces(&mut self, geometry: &Geometry) {
        // Where pieces are shown, that set would be another one that nobody chose.
        let may_offer = self.negotiated.fast && !self.unchoked && self.shown.is_none();
        let (Some(info_hash), true) = (&self.info_hash, may_offer) else {
            return;
        };
        // BEP 6: no set for those who have at least as many pieces as are in it.
        if self.peer_have() >= self.config.allowed_fast {
            return;
        }
        let set = allowed_fast_set(self.peer, info_hash, geometry, self.config.allowed_fast);
        for piece in &set {
            Message::AllowedFast { index: piece.get() }.encode(&mut self.control);
        }
        self.requests.allow_fast(set, geometry);
    }

    pub(super) fn take_request(
        &mut self,
        geometry: &Geometry,
        index: u32,
        begin: u32,
        length: u32,
    ) -> Result<Worth, Violation> {
        let block = match geometry.block(index, begin, length) {
            Ok(block) => block,
            Err(_) if self.negotiated.fast => {
                self.reject(index, begin, length);
                return Ok(Worth::Refused);
            }
            Err(error) => return Err(error.into()),
        };
        // BEP 3: data goes when one side is interested and the other isn't choking. A request that crosses with
        // our choke on the wire is nobody's fault.
        let may_ask = self.is_shown(block.piece())
            && self.interested
            && (self.unchoked || self.requests.may_go_choked(block));
        if may_ask && !self.is_full() {
            self.requests.push(block);
            Ok(Worth::Something)
        } else {
            self.reject_block(block);
            Ok(Worth::Refused)
        }
    }

    /// BEP 6: a cancelled request is still answered. One that names no request may be for a block that has just
    /// gone out. Clients take back all that they have in flight at once, when they have it from others.
    pub(super) fn take_cancel(&mut self, index: u32, begin: u32, length: u32) -> Worth {
        let Some(block) = self.requests.cancel(index, begin, length) else { return Worth::Nothing };
        self.reject_block(block);
        Worth::Refused
    }

    /// BEP 6: "A choke no longer implicitly rejects all pending requests", so each is rejected that won't be answered.
    pub(super) fn choke(&mut self) {
        Message::Choke.encode(&mut self.control);
        for block in self.requests.choke() {
            self.reject_block(block);
        }
    }

    /// Refuses all requests that wait, and gives their memory back.
    pub(super) fn drop_requests(&mut self) {
        for block in self.requests.take_all() {
            self.reject_block(block);
        }
    }

    fn reject_block(&mut self, block: Block) {
        self.reject(block.piece().get(), block.begin(), block.len());
    }

    fn reject(&mut self, index: u32, begin: u32, length: u32) {
        if self.negotiated.fast {
            Message::Reject { index, begin, length }.encode(&mut self.control);
        }
    }
}
