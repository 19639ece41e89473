//! `sendfile`: the socket refers to the page cache's own pages.

use std::net::TcpStream;

use anyhow::ensure;
use distributor_load::{Block, wire};
use rustix::net::SendFlags;

use super::{Sender, range};
use crate::Served;

pub(super) struct Sendfile<'a> {
    socket: &'a TcpStream,
    served: &'a Served,
}

impl<'a> Sendfile<'a> {
    pub(super) fn new(socket: &'a TcpStream, served: &'a Served) -> Self {
        Self { socket, served }
    }
}

impl Sender for Sendfile<'_> {
    fn send(&mut self, blocks: &[Block]) -> anyhow::Result<()> {
        for block in blocks {
            // A header on its own would be a packet of its own. The socket blocks, so that 13 bytes go whole.
            rustix::net::send(self.socket, &wire::piece_header(*block), SendFlags::MORE)?;
            let range = range(&self.served.torrent, *block)?;
            let mut at = range.start as u64;
            while at < range.end as u64 {
                let left = range.end - at as usize;
                let sent = rustix::fs::sendfile(self.socket, &self.served.file, Some(&mut at), left)?;
                ensure!(sent > 0, "the file is shorter than the torrent");
            }
        }
        Ok(())
    }
}
