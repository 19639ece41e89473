//! MSG_ZEROCOPY from the map: the socket refers to the map's pages, and says on its error queue when it is done with them
//! (`Documentation/networking/msg_zerocopy.rst`).

use std::collections::VecDeque;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::ptr::{from_mut, null_mut};

use anyhow::Context;
use distributor_load::Block;

use super::{Header, Sender, headers, slices};
use crate::Served;

/// From `linux/errqueue.h`: SO_EE_ORIGIN_ZEROCOPY.
const ORIGIN_ZEROCOPY: u8 = 5;

pub(super) struct Zerocopy<'a> {
    socket: &'a TcpStream,
    served: &'a Served,
    /// What the socket still refers to, by the number of the last call that did.
    lent: VecDeque<(u32, Vec<Header>)>,
    /// Calls so far. The kernel numbers those that sent anything, from 0.
    calls: u32,
}

impl<'a> Zerocopy<'a> {
    pub(super) fn new(socket: &'a TcpStream, served: &'a Served) -> anyhow::Result<Self> {
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int, which lives through the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ZEROCOPY,
                std::ptr::from_ref(&on).cast(),
                size_of::<libc::c_int>() as u32,
            )
        };
        checked(result as isize).context("SO_ZEROCOPY")?;
        Ok(Self { socket, served, lent: VecDeque::new(), calls: 0 })
    }

    /// Learns which calls the socket is done with, and takes back what it was lent for them.
    fn reap(&mut self) -> io::Result<()> {
        while let Some(done) = self.last_done()? {
            self.lent.retain(|(call, _)| *call > done);
        }
        Ok(())
    }

    /// The last call of a range that is done; `None` while there is no news.
    fn last_done(&self) -> io::Result<Option<u32>> {
        let mut control = [0_u64; 16];
        // SAFETY: all zeroes is an empty message.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the message holds no data, and its control buffer is as long as it says.
        let result = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE) };
        match checked(result) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        };
        // SAFETY: the kernel filled the message in. The first header is null or inside the control buffer, and what
        // comes in it on an error queue is a `sock_extended_err`, not necessarily aligned.
        let error = unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            if header.is_null() {
                return Ok(None);
            }
            libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned()
        };
        if error.ee_origin != ORIGIN_ZEROCOPY {
            return Err(io::Error::from_raw_os_error(error.ee_errno as i32));
        }
        Ok(Some(error.ee_data))
    }

    /// Until there is news on the error queue.
    fn wait(&self) -> io::Result<()> {
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one entry, which lives through the call.
        checked(unsafe { libc::poll(&raw mut poll, 1, -1) } as isize).map(drop)
    }
}

impl Sender for Zerocopy<'_> {
    fn send(&mut self, blocks: &[Block]) -> anyhow::Result<()> {
        let headers = headers(blocks);
        let mut slices = slices(self.served, blocks, &headers)?;
        let mut left = &mut slices[..];
        while !left.is_empty() {
            // SAFETY: all zeroes is an empty message.
            let mut message: libc::msghdr = unsafe { zeroed() };
            // An `IoSlice` is an `iovec`, as the standard library promises.
            message.msg_iov = left.as_mut_ptr().cast();
            message.msg_iovlen = left.len();
            message.msg_name = null_mut();
            let flags = libc::MSG_ZEROCOPY | libc::MSG_NOSIGNAL;
            // SAFETY: the slices live through the call. After it the kernel holds their pages: the map's don't change,
            // the headers are kept until it is done with them.
            let result = unsafe { libc::sendmsg(self.socket.as_raw_fd(), from_mut(&mut message), flags) };
            match checked(result) {
                Ok(sent) => {
                    self.calls += 1;
                    io::IoSlice::advance_slices(&mut left, sent);
                }
                // As much is lent as may be (`net.core.optmem_max`).
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.wait()?,
                Err(error) => return Err(error.into()),
            }
            self.reap()?;
        }
        drop(slices);
        self.lent.push_back((self.calls - 1, headers));
        Ok(())
    }
}

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
