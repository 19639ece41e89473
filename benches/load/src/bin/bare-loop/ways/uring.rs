//! `sendmsg` as an entry of an io_uring, which is one call as well; with `Zerocopy`, SENDMSG_ZC.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::zeroed;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use distributor_load::Block;
use io_uring::{IoUring, cqueue, opcode, types};

use super::{Header, Sender, headers, slices};
use crate::Served;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Copying,
    Zerocopy,
}

pub(super) struct Uring<'a> {
    socket: &'a TcpStream,
    served: &'a Served,
    ring: IoUring,
    call: Call,
    /// Entries so far.
    calls: u64,
    /// What the socket still refers to, by entry.
    lent: HashMap<u64, Vec<Header>>,
}

impl<'a> Uring<'a> {
    pub(super) fn new(socket: &'a TcpStream, served: &'a Served, call: Call) -> anyhow::Result<Self> {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8)?;
        Ok(Self { socket, served, ring, call, calls: 0, lent: HashMap::new() })
    }

    /// Sends some of it and says how much. With [`Call::Zerocopy`] the kernel may still need the slices' memory.
    fn send_some(&mut self, slices: &mut [IoSlice<'_>]) -> anyhow::Result<usize> {
        // SAFETY: all zeroes is an empty message.
        let mut message: libc::msghdr = unsafe { zeroed() };
        // An `IoSlice` is an `iovec`, as the standard library promises.
        message.msg_iov = slices.as_mut_ptr().cast();
        message.msg_iovlen = slices.len();
        let socket = types::Fd(self.socket.as_raw_fd());
        // As a blocking `writev` does, it waits until all is in the socket's buffer.
        let flags = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
        let entry = match self.call {
            Call::Copying => opcode::SendMsg::new(socket, &raw const message).flags(flags).build(),
            Call::Zerocopy => opcode::SendMsgZc::new(socket, &raw const message).flags(flags).build(),
        };
        self.calls += 1;
        // SAFETY: message and slices live until the entry's result, which is waited for below. Where their memory is
        // needed for longer it is the map's or kept in `lent`.
        unsafe { self.ring.submission().push(&entry.user_data(self.calls)) }?;
        loop {
            self.ring.submit_and_wait(1)?;
            let mut result = None;
            for completion in self.ring.completion() {
                if cqueue::notif(completion.flags()) {
                    self.lent.remove(&completion.user_data());
                } else {
                    result = Some(completion.result());
                }
            }
            if let Some(result) = result {
                return Ok(usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?);
            }
        }
    }
}

impl Sender for Uring<'_> {
    fn send(&mut self, blocks: &[Block]) -> anyhow::Result<()> {
        let headers = headers(blocks);
        let mut slices = slices(self.served, blocks, &headers)?;
        let mut left = &mut slices[..];
        while !left.is_empty() {
            let sent = self.send_some(left)?;
            IoSlice::advance_slices(&mut left, sent);
        }
        drop(slices);
        if self.call == Call::Zerocopy {
            self.lent.insert(self.calls, headers);
        }
        Ok(())
    }
}
