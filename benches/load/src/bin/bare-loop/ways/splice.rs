//! `splice` through a pipe: headers are written into it, blocks are spliced from the file, and a pipeful goes to the
//! socket in one call.

use std::net::TcpStream;

use anyhow::ensure;
use distributor_load::{Block, wire};
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::{Sender, range};
use crate::Served;

/// As much as anybody may ask for (`/proc/sys/fs/pipe-max-size`): 256 pages.
const PIPE_LEN: usize = 1 << 20;
/// Slots of the pipe that a block takes: its header's, its pages', and one for where it begins within a page.
const SLOTS: usize = 1 + wire::BLOCK_LEN as usize / 4096 + 1;
/// Blocks in a pipeful, so that filling it never blocks.
const PIPEFUL: usize = PIPE_LEN / 4096 / SLOTS;

pub(super) struct Splice<'a> {
    socket: &'a TcpStream,
    served: &'a Served,
    into: OwnedFd,
    out: OwnedFd,
}

impl<'a> Splice<'a> {
    pub(super) fn new(socket: &'a TcpStream, served: &'a Served) -> anyhow::Result<Self> {
        let (out, into) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::pipe::fcntl_setpipe_size(&into, PIPE_LEN)?;
        Ok(Self { socket, served, into, out })
    }

    fn fill(&self, block: Block) -> anyhow::Result<usize> {
        ensure!(block.len <= wire::BLOCK_LEN, "a request for {} bytes", block.len);
        let range = range(&self.served.torrent, block)?;
        let header = rustix::io::write(&self.into, &wire::piece_header(block))?;
        let mut at = range.start as u64;
        while at < range.end as u64 {
            let left = range.end - at as usize;
            let file = &self.served.file;
            let moved =
                rustix::pipe::splice(file, Some(&mut at), &self.into, None, left, SpliceFlags::empty())?;
            ensure!(moved > 0, "the file is shorter than the torrent");
        }
        Ok(header + range.len())
    }
}

impl Sender for Splice<'_> {
    fn send(&mut self, blocks: &[Block]) -> anyhow::Result<()> {
        for pipeful in blocks.chunks(PIPEFUL) {
            let mut left = 0;
            for block in pipeful {
                left += self.fill(*block)?;
            }
            while left > 0 {
                left -= rustix::pipe::splice(&self.out, None, self.socket, None, left, SpliceFlags::empty())?;
            }
        }
        Ok(())
    }
}
