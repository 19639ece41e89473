//! The ways to send blocks of a file, each on a socket that blocks.
//!
//! | way | calls | copies in the sender |
//! |---|---|---|
//! | `writev` | one a batch | one, from the page cache to the socket |
//! | `sendfile` | two a block: the header with MSG_MORE, then `sendfile` | none |
//! | `splice` | two a block into a pipe, one a pipeful out of it | none |
//! | `zerocopy` | one a batch with MSG_ZEROCOPY, and one that learns what is done | none, where the network card takes pages |
//! | `io-uring` | one a batch: `writev`'s work as an entry of a ring | one |
//! | `io-uring-zc` | one a batch: `zerocopy`'s work as an entry of a ring | as with `zerocopy` |

mod sendfile;
mod splice;
mod uring;
mod vectored;
mod zerocopy;

use std::io::IoSlice;
use std::net::TcpStream;

use anyhow::Context;
use distributor_load::wire::{self, PIECE_HEADER_LEN};
use distributor_load::{Block, Torrent};

use crate::Served;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    Writev,
    Sendfile,
    Splice,
    Zerocopy,
    IoUring,
    IoUringZc,
}

/// Sends on one socket.
pub(crate) trait Sender {
    /// Sends a header and the data for each, in this order; at most [`BATCH`](crate::connection::BATCH) of them.
    ///
    /// # Errors
    ///
    /// When a block isn't in the file, or the peer has left.
    fn send(&mut self, blocks: &[Block]) -> anyhow::Result<()>;
}

impl Way {
    pub(crate) fn sender<'a>(
        self,
        socket: &'a TcpStream,
        served: &'a Served,
    ) -> anyhow::Result<Box<dyn Sender + 'a>> {
        Ok(match self {
            Self::Writev => Box::new(vectored::Vectored::new(socket, served)),
            Self::Sendfile => Box::new(sendfile::Sendfile::new(socket, served)),
            Self::Splice => Box::new(splice::Splice::new(socket, served)?),
            Self::Zerocopy => Box::new(zerocopy::Zerocopy::new(socket, served)?),
            Self::IoUring => Box::new(uring::Uring::new(socket, served, uring::Call::Copying)?),
            Self::IoUringZc => Box::new(uring::Uring::new(socket, served, uring::Call::Zerocopy)?),
        })
    }
}

type Header = [u8; PIECE_HEADER_LEN];

fn headers(blocks: &[Block]) -> Vec<Header> {
    blocks.iter().map(|block| wire::piece_header(*block)).collect()
}

/// Headers and the map's ranges in turn.
fn slices<'a>(
    served: &'a Served,
    blocks: &[Block],
    headers: &'a [Header],
) -> anyhow::Result<Vec<IoSlice<'a>>> {
    let mut slices = Vec::with_capacity(2 * blocks.len());
    for (block, header) in blocks.iter().zip(headers) {
        slices.push(IoSlice::new(header));
        let range = range(&served.torrent, *block)?;
        slices.push(IoSlice::new(served.map.get(range).context("the file is shorter than the torrent")?));
    }
    Ok(slices)
}

fn range(torrent: &Torrent, block: Block) -> anyhow::Result<std::ops::Range<usize>> {
    torrent.range(block).with_context(|| format!("{block:?} isn't in the torrent"))
}
