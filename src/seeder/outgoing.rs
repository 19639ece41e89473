//! What a connection has yet to send, in order: messages, and blocks that stay in the file until the kernel copies
//! them into the socket. Blocks that the disk has yet to give let others pass, and nothing else does.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use distributor_proto::{BLOCK_HEADER_LEN, Block};

use crate::store::{MAX_SEGMENTS, Ready, Segment};

/// As much as one vectored write takes, a header and a block being two segments.
const MAX_ITEMS: usize = MAX_SEGMENTS / 2;

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Bytes(Bytes),
    /// A header, and the block of the file that follows it.
    Block([u8; BLOCK_HEADER_LEN], Block),
}

/// The queue. Bounded by whoever fills it asking [`Outgoing::is_full`]: what the session still has can be cancelled,
/// and refused under choke.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Item>,
    /// How many bytes all of them have.
    len: usize,
    /// How many bytes of the first are sent already.
    sent: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, item: Item) {
        self.len += len(&item);
        self.queue.push_back(item);
    }

    /// A header and a part of the info dictionary; the session has made sure that there is such a part.
    pub(super) fn push_metadata(&mut self, header: Bytes, metadata: &Bytes, range: &Range<u32>) {
        let range = range.start as usize..range.end as usize;
        if range.start <= range.end && range.end <= metadata.len() {
            self.push(Item::Bytes(header));
            self.push(Item::Bytes(metadata.slice(range)));
        }
    }

    /// Whether nothing more is to be put in where a batch is so many bytes.
    pub(super) fn is_full(&self, batch: usize) -> bool {
        self.queue.len() >= MAX_ITEMS || self.len >= batch
    }

    /// How many bytes are still to be sent.
    pub(super) fn len(&self) -> usize {
        self.len - self.sent
    }

    /// Whether a block stands first, or the rest of one.
    pub(super) fn begins_with_block(&self) -> bool {
        matches!(self.queue.front(), Some(Item::Block(..)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The first block that can't be sent now: its place in the queue, and the range of the file that is wanted.
    pub(super) fn unready(&self, ready: Option<Ready<'_>>) -> Option<(usize, Range<u64>)> {
        self.queue.iter().enumerate().find_map(|(place, item)| match item {
            Item::Bytes(_) => None,
            Item::Block(_, block) => {
                let range = block.range();
                let is_ready = ready.is_some_and(|ready| ready.covers(&range));
                (!is_ready).then_some((place, range))
            }
        })
    }

    /// Where a block stands first that isn't ready, has those go before it that are: BEP 3 lets requests be answered in
    /// any order. The ones keep theirs, and so do the others. No block passes a message, which may be about it, nor one
    /// that has gone in part. Whether a ready one stands first now.
    pub(super) fn overtake(&mut self, is_ready: impl Fn(&Range<u64>) -> bool) -> bool {
        if self.sent > 0 {
            return false;
        }
        let is_behind = |item: &Item| match item {
            Item::Bytes(_) => true,
            Item::Block(_, block) => !is_ready(&block.range()),
        };
        let message = self.queue.iter().position(|item| matches!(item, Item::Bytes(_)));
        let blocks = message.unwrap_or(self.queue.len());
        // What is ready may become more meanwhile: each is asked once.
        if let Some(blocks) = self.queue.make_contiguous().get_mut(..blocks) {
            blocks.sort_by_cached_key(is_behind);
        }
        self.queue.front().is_some_and(|first| !is_behind(first))
    }

    /// Everything up to the first block that isn't ready, or to the point where more bytes of blocks were passed than
    /// are allowed; messages need no allowance.
    pub(super) fn segments<'a>(
        &'a self,
        ready: Option<Ready<'a>>,
        allowed: usize,
    ) -> impl Iterator<Item = Segment<'a>> {
        let mut skip = self.sent;
        let (mut allowed, mut is_cut) = (allowed, false);
        self.queue
            .iter()
            .map_while(move |item| {
                let skipped = std::mem::take(&mut skip);
                match item {
                    // What stands behind a block that was cut short waits for the rest of it.
                    _ if is_cut => None,
                    Item::Bytes(bytes) => Some([rest(bytes, skipped), None]),
                    Item::Block(header, block) => {
                        let ready = ready.filter(|ready| ready.covers(&block.range()))?;
                        is_cut = allowed < len(item) - skipped;
                        let header = header.get(skipped..).unwrap_or_default();
                        let header = header.get(..allowed).unwrap_or(header);
                        allowed -= header.len();
                        let rest_of_block = rest_of_block(*block, skipped.saturating_sub(BLOCK_HEADER_LEN));
                        let Range { start, end } = rest_of_block;
                        let end = end.min(start.saturating_add(allowed as u64));
                        allowed -= (end - start) as usize;
                        Some([rest(header, 0), (start < end).then(|| ready.segment(start..end))])
                    }
                }
            })
            .flatten()
            .flatten()
    }

    /// So many bytes of the segments were sent.
    pub(super) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        while let Some(first) = self.queue.front().map(len).filter(|len| *len <= self.sent) {
            self.sent -= first;
            self.len -= first;
            self.queue.pop_front();
        }
    }

    /// Gives back the memory of what was there, once nothing is.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

fn len(item: &Item) -> usize {
    match item {
        Item::Bytes(bytes) => bytes.len(),
        Item::Block(_, block) => BLOCK_HEADER_LEN + block.len() as usize,
    }
}

fn rest(bytes: &[u8], skip: usize) -> Option<Segment<'_>> {
    bytes.get(skip..).filter(|rest| !rest.is_empty()).map(Segment::Bytes)
}

fn rest_of_block(block: Block, skip: usize) -> Range<u64> {
    let Range { start, end } = block.range();
    start + skip as u64..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributor_proto::{BLOCK_LEN, Geometry, block_header};

    const BATCH: usize = 1024 * 1024;

    fn bytes(text: &'static str) -> Item {
        Item::Bytes(Bytes::from_static(text.as_bytes()))
    }

    /// What goes out without an allowance, which messages don't need.
    fn sent_bytes(outgoing: &Outgoing) -> Vec<u8> {
        let mut all = Vec::new();
        for segment in outgoing.segments(None, 0) {
            match segment {
                Segment::Bytes(bytes) => all.extend_from_slice(bytes),
                Segment::Mapped { .. } => panic!("no file is open"),
            }
        }
        all
    }

    #[test]
    fn goes_on_where_a_short_write_ended() {
        let mut outgoing = Outgoing::default();
        outgoing.push(bytes("choke"));
        outgoing.push(bytes("unchoke"));
        outgoing.advance(3);
        assert_eq!(sent_bytes(&outgoing), b"keunchoke");
        outgoing.advance(4);
        assert_eq!(sent_bytes(&outgoing), b"choke");
        outgoing.advance(5);
        assert_eq!((outgoing.is_empty(), outgoing.len()), (true, 0));
        assert_eq!(outgoing.unready(None), None);
    }

    #[test]
    fn holds_back_a_block_and_what_follows_it_until_the_file_is_ready() {
        let block = Geometry::new(100_000, 65_536).unwrap().block(1, 10, 20).unwrap();
        let mut outgoing = Outgoing::default();
        outgoing.push(bytes("unchoke"));
        outgoing.push(Item::Block(block_header(block), block));
        outgoing.push(bytes("choke"));
        assert_eq!(sent_bytes(&outgoing), b"unchoke");
        assert_eq!(outgoing.unready(None), Some((1, 65_546..65_566)));
        outgoing.advance(7);
        assert_eq!(outgoing.unready(None), Some((0, 65_546..65_566)));
    }

    /// Blocks of a piece each.
    fn block(piece: u32) -> Item {
        let geometry = Geometry::new(u64::from(BLOCK_LEN) * 100, BLOCK_LEN).unwrap();
        let block = geometry.block(piece, 0, BLOCK_LEN).unwrap();
        Item::Block(block_header(block), block)
    }

    fn is_of(pieces: &[u32]) -> impl Fn(&Range<u64>) -> bool {
        |range| pieces.contains(&u32::try_from(range.start / u64::from(BLOCK_LEN)).unwrap())
    }

    #[test]
    fn blocks_that_are_ready_pass_those_that_are_not_and_all_keep_their_order() {
        let mut outgoing = Outgoing::default();
        (0..6).for_each(|piece| outgoing.push(block(piece)));
        assert!(!outgoing.overtake(is_of(&[])));
        assert!(outgoing.overtake(is_of(&[2, 3, 5])));
        assert!(outgoing.queue.iter().cloned().eq([2, 3, 5, 0, 1, 4].map(block)));
        assert_eq!(outgoing.len(), 6 * len(&block(0)));
    }

    #[test]
    fn no_block_passes_a_message_or_what_has_gone_in_part() {
        let mut outgoing = Outgoing::default();
        [block(0), bytes("choke"), block(1)].into_iter().for_each(|item| outgoing.push(item));
        assert!(!outgoing.overtake(is_of(&[1])));
        let mut outgoing = Outgoing::default();
        [block(0), block(1)].into_iter().for_each(|item| outgoing.push(item));
        outgoing.advance(1);
        assert!(!outgoing.overtake(is_of(&[1])));
        assert!(outgoing.queue.iter().cloned().eq([0, 1].map(block)));
    }

    #[test]
    fn is_full_when_one_write_could_not_take_more() {
        let mut outgoing = Outgoing::default();
        for _ in 0..MAX_ITEMS {
            assert!(!outgoing.is_full(BATCH));
            outgoing.push(bytes("x"));
        }
        assert!(outgoing.is_full(BATCH));
    }

    #[test]
    fn is_full_when_more_would_only_be_older() {
        let geometry = Geometry::new(u64::from(BLOCK_LEN) * 1000, BLOCK_LEN).unwrap();
        let blocks = (0..).map(|piece| geometry.block(piece, 0, BLOCK_LEN).unwrap());
        let mut outgoing = Outgoing::default();
        for block in blocks.take(BATCH / BLOCK_LEN as usize) {
            assert!(!outgoing.is_full(BATCH));
            outgoing.push(Item::Block(block_header(block), block));
        }
        assert!(outgoing.is_full(BATCH));
        outgoing.advance(BLOCK_HEADER_LEN + BLOCK_LEN as usize);
        assert!(!outgoing.is_full(BATCH));
    }
}
