//! What a connection has yet to send, in order: messages, and blocks that stay in the file until the kernel copies
//! them into the socket.

use std::collections::VecDeque;
use std::ops::Range;

use distributor_proto::{BLOCK_HEADER_LEN, Block, Transmit};

use crate::store::{MAX_SEGMENTS, OpenFile, Segment};

/// As much as one vectored write takes, a header and a block being two segments. More would only be older when sent.
const MAX_TRANSMITS: usize = MAX_SEGMENTS / 2;

/// The queue. Bounded by whoever fills it asking [`Outgoing::is_full`].
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Transmit>,
    /// How many bytes of the first are sent already.
    sent: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, transmit: Transmit) {
        self.queue.push_back(transmit);
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= MAX_TRANSMITS
    }

    /// The first range of the file that is wanted but not ready to be sent.
    pub(super) fn first_unready(&self, file: Option<&OpenFile>) -> Option<Range<u64>> {
        self.blocks().find(|range| !is_ready(file, range))
    }

    /// Whether anything can be sent now.
    pub(super) fn can_send(&self, file: Option<&OpenFile>) -> bool {
        match self.queue.front() {
            None => false,
            Some(Transmit::Bytes(_)) => true,
            Some(Transmit::Block { block, .. }) => is_ready(file, &block.range()),
        }
    }

    fn blocks(&self) -> impl Iterator<Item = Range<u64>> {
        self.queue.iter().filter_map(|transmit| match transmit {
            Transmit::Bytes(_) => None,
            Transmit::Block { block, .. } => Some(block.range()),
        })
    }

    /// Everything up to the first block that isn't ready.
    pub(super) fn segments<'a>(&'a self, file: Option<&'a OpenFile>) -> impl Iterator<Item = Segment<'a>> {
        let mut skip = self.sent;
        self.queue
            .iter()
            .map_while(move |transmit| {
                let skipped = std::mem::take(&mut skip);
                match transmit {
                    Transmit::Bytes(bytes) => Some([rest(bytes, skipped), None]),
                    Transmit::Block { header, block } => {
                        let file = file.filter(|file| file.is_ready(&block.range()))?;
                        let range = rest_of_block(*block, skipped.saturating_sub(BLOCK_HEADER_LEN));
                        Some([rest(header, skipped), Some(Segment::Mapped { file, range })])
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

fn is_ready(file: Option<&OpenFile>, range: &Range<u64>) -> bool {
    file.is_some_and(|file| file.is_ready(range))
}

fn len(transmit: &Transmit) -> usize {
    match transmit {
        Transmit::Bytes(bytes) => bytes.len(),
        Transmit::Block { block, .. } => BLOCK_HEADER_LEN + block.len() as usize,
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
    use bytes::Bytes;
    use distributor_proto::{Geometry, block_header};

    fn bytes(text: &'static str) -> Transmit {
        Transmit::Bytes(Bytes::from_static(text.as_bytes()))
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
        assert!(!outgoing.can_send(None));
    }

    #[test]
    fn holds_back_a_block_and_what_follows_it_until_the_file_is_ready() {
        let block = Geometry::new(100_000, 65_536).unwrap().block(1, 10, 20).unwrap();
        let mut outgoing = Outgoing::default();
        outgoing.push(bytes("unchoke"));
        outgoing.push(Transmit::Block { header: block_header(block), block });
        outgoing.push(bytes("choke"));
        assert_eq!(sent_bytes(&outgoing), b"unchoke");
        assert_eq!(outgoing.first_unready(None), Some(65_546..65_566));
        outgoing.advance(7);
        assert!(!outgoing.can_send(None));
    }

    #[test]
    fn is_full_when_one_write_could_not_take_more() {
        let mut outgoing = Outgoing::default();
        for _ in 0..MAX_TRANSMITS {
            assert!(!outgoing.is_full());
            outgoing.push(bytes("x"));
        }
        assert!(outgoing.is_full());
    }
}
