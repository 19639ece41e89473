//! What a connection has yet to send, in order: messages, and blocks that stay in the file until the kernel copies
//! them into the socket.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use distributor_proto::{BLOCK_HEADER_LEN, Block};

use crate::store::{MAX_SEGMENTS, OpenFile, Ready, Segment};

/// As much as one vectored write takes, a header and a block being two segments. More would only be older when sent.
const MAX_ITEMS: usize = MAX_SEGMENTS / 2;

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Bytes(Bytes),
    /// A header, and the block of the file that follows it.
    Block([u8; BLOCK_HEADER_LEN], Block),
}

/// What is to be done about the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What stands first can be sent. If not, and there is something, it is what has to be made ready.
    pub(super) can_send: bool,
    /// The first range of the file that is wanted but not ready.
    pub(super) make_ready: Option<Range<u64>>,
}

/// The queue. Bounded by whoever fills it asking [`Outgoing::is_full`].
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Item>,
    /// How many bytes of the first are sent already.
    sent: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, item: Item) {
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

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= MAX_ITEMS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What to do next. Decided at one moment: a block is either to be sent or to be made ready.
    pub(super) fn plan(&self, file: Option<&OpenFile>) -> Plan {
        let ready = file.and_then(OpenFile::ready);
        let unready = self.queue.iter().enumerate().find_map(|(position, item)| match item {
            Item::Bytes(_) => None,
            Item::Block(_, block) => {
                let range = block.range();
                (!covers(ready, &range)).then_some((position, range))
            }
        });
        Plan {
            can_send: !self.queue.is_empty() && unready.as_ref().is_none_or(|(position, _)| *position > 0),
            make_ready: unready.map(|(_, range)| range),
        }
    }

    /// Everything up to the first block that isn't ready.
    pub(super) fn segments<'a>(&'a self, file: Option<&'a OpenFile>) -> impl Iterator<Item = Segment<'a>> {
        let mut skip = self.sent;
        let ready = file.and_then(OpenFile::ready);
        self.queue
            .iter()
            .map_while(move |item| {
                let skipped = std::mem::take(&mut skip);
                match item {
                    Item::Bytes(bytes) => Some([rest(bytes, skipped), None]),
                    Item::Block(header, block) => {
                        let ready = ready.filter(|ready| ready.covers(&block.range()))?;
                        let range = rest_of_block(*block, skipped.saturating_sub(BLOCK_HEADER_LEN));
                        Some([rest(header, skipped), Some(ready.segment(range))])
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
            self.queue.pop_front();
        }
    }
}

fn covers(ready: Option<Ready<'_>>, range: &Range<u64>) -> bool {
    ready.is_some_and(|ready| ready.covers(range))
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
    use distributor_proto::{Geometry, block_header};

    fn bytes(text: &'static str) -> Item {
        Item::Bytes(Bytes::from_static(text.as_bytes()))
    }

    fn sent_bytes(outgoing: &Outgoing) -> Vec<u8> {
        let mut all = Vec::new();
        for segment in outgoing.segments(None) {
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
        assert!(outgoing.is_empty());
        assert_eq!(outgoing.plan(None), Plan { can_send: false, make_ready: None });
    }

    #[test]
    fn holds_back_a_block_and_what_follows_it_until_the_file_is_ready() {
        let block = Geometry::new(100_000, 65_536).unwrap().block(1, 10, 20).unwrap();
        let mut outgoing = Outgoing::default();
        outgoing.push(bytes("unchoke"));
        outgoing.push(Item::Block(block_header(block), block));
        outgoing.push(bytes("choke"));
        assert_eq!(sent_bytes(&outgoing), b"unchoke");
        let make_ready = Some(65_546..65_566);
        assert_eq!(outgoing.plan(None), Plan { can_send: true, make_ready: make_ready.clone() });
        outgoing.advance(7);
        assert_eq!(outgoing.plan(None), Plan { can_send: false, make_ready });
    }

    #[test]
    fn is_full_when_one_write_could_not_take_more() {
        let mut outgoing = Outgoing::default();
        for _ in 0..MAX_ITEMS {
            assert!(!outgoing.is_full());
            outgoing.push(bytes("x"));
        }
        assert!(outgoing.is_full());
    }
}
