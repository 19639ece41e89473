//! `writev` from the map.

use std::io::{IoSlice, Write};
use std::net::TcpStream;

use distributor_load::Block;

use super::{Sender, headers, slices};
use crate::Served;

pub(super) struct Vectored<'a> {
    socket: &'a TcpStream,
    served: &'a Served,
}

impl<'a> Vectored<'a> {
    pub(super) fn new(socket: &'a TcpStream, served: &'a Served) -> Self {
        Self { socket, served }
    }
}

impl Sender for Vectored<'_> {
    fn send(&mut self, blocks: &[Block]) -> anyhow::Result<()> {
        let headers = headers(blocks);
        let mut slices = slices(self.served, blocks, &headers)?;
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let sent = self.socket.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, sent);
        }
        Ok(())
    }
}
