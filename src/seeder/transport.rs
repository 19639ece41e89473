//! How bytes go over a connection's socket: in the clear, and then straight from the files' maps; or encrypted, and
//! then through a buffer. What they say is not known here.

use std::cell::RefCell;
use std::future::pending;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;

use distributor_proto::{MseStream, Rc4Pair};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::buffers::{Buffer, Buffers};
use super::depth::Depth;
use super::outgoing::Outgoing;
use super::socket::set_depth;
use crate::store::{self, StoreError};

/// How much is read from a socket at a time. Peers send little to a seeder: this is a hundred requests and more.
pub(super) const READ_LEN: usize = 16 * 1024;

thread_local! {
    /// Where a worker reads into, whichever connection it serves: an idle connection keeps no buffer of its own.
    static SCRATCH: RefCell<[u8; READ_LEN]> = const { RefCell::new([0; READ_LEN]) };
}

/// A socket, and what is done to all bytes that pass it.
#[derive(Debug)]
pub(super) struct Transport {
    stream: TcpStream,
    cipher: Option<Encrypted>,
    /// How much the socket holds.
    depth: Depth,
}

#[derive(Debug)]
struct Encrypted {
    streams: Box<Rc4Pair>,
    buffers: Arc<Buffers>,
    /// What is encrypted already: the key stream goes on behind it, so it must be sent as it is.
    unsent: Option<Unsent>,
}

#[derive(Debug)]
struct Unsent {
    buffer: Buffer,
    start: usize,
    end: usize,
}

/// Why nothing could be sent.
#[derive(Debug)]
pub(super) enum SendError {
    Socket(io::Error),
    File(StoreError),
}

impl Transport {
    pub(super) fn new(stream: TcpStream, cipher: MseStream, buffers: &Arc<Buffers>) -> Self {
        let cipher = match cipher {
            MseStream::Plain => None,
            MseStream::Rc4(streams) => {
                Some(Encrypted { streams, buffers: Arc::clone(buffers), unsent: None })
            }
        };
        Self { stream, cipher, depth: Depth::default() }
    }

    /// Has the socket hold so much from now on.
    pub(super) fn set_depth(&mut self, depth: Depth) {
        // What was set before is as good as what can't be set now.
        if depth.differs_from(self.depth) && set_depth(&self.stream, depth).is_ok() {
            self.depth = depth;
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }

    /// Whether bytes that the connection has parted with wait for room in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.cipher.as_ref().is_some_and(|cipher| cipher.unsent.is_some())
    }

    /// Waits for what is of interest; for ever, if nothing is.
    pub(super) async fn ready(&self, interest: Option<Interest>) -> io::Result<tokio::io::Ready> {
        match interest {
            Some(interest) => self.stream.ready(interest).await,
            None => pending().await,
        }
    }

    /// Reads once and hands over what came: at most [`READ_LEN`] bytes, nothing at the end of the stream.
    pub(super) fn receive<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = None;
            let tried = self.stream.try_io(Interest::READABLE, || {
                let len = (&*SockRef::from(&self.stream)).read(scratch)?;
                read = Some(len);
                // A short read has emptied the socket, and what comes next is told of anew: to try again only to hear
                // that there is nothing would be every other system call. The end is still to be read, and stays told.
                if (1..scratch.len()).contains(&len) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            let read = match (read, tried) {
                (Some(read), _) => read,
                (None, tried) => tried.map(|()| 0)?,
            };
            let received = scratch.get_mut(..read).unwrap_or_default();
            if let Some(cipher) = &mut self.cipher {
                cipher.streams.decrypt(received);
            }
            Ok(take(received))
        })
    }

    /// Takes from the queue what is ready and allowed, and sends it with one system call, as far as the socket takes
    /// it; returns how many bytes went.
    pub(super) fn send(
        &mut self,
        outgoing: &mut Outgoing,
        ready: Option<store::Ready<'_>>,
        allowed: usize,
    ) -> Result<usize, SendError> {
        match &mut self.cipher {
            None => {
                let sent = send_clear(&self.stream, outgoing, ready, allowed)?;
                outgoing.advance(sent);
                Ok(sent)
            }
            Some(cipher) => cipher.send(&self.stream, outgoing, ready, allowed),
        }
    }
}

fn send_clear(
    stream: &TcpStream,
    outgoing: &Outgoing,
    ready: Option<store::Ready<'_>>,
    allowed: usize,
) -> Result<usize, SendError> {
    let mut failed = None;
    let sent = stream.try_io(Interest::WRITABLE, || {
        store::send(stream.as_fd(), outgoing.segments(ready, allowed)).or_else(|error| match error {
            StoreError::Io(error) => Err(error),
            of_file => {
                failed = Some(of_file);
                Ok(0)
            }
        })
    });
    match failed {
        Some(error) => Err(SendError::File(error)),
        None => sent.map_err(SendError::Socket),
    }
}

impl Encrypted {
    fn send(
        &mut self,
        stream: &TcpStream,
        outgoing: &mut Outgoing,
        ready: Option<store::Ready<'_>>,
        allowed: usize,
    ) -> Result<usize, SendError> {
        let mut unsent = match self.unsent.take() {
            Some(unsent) => unsent,
            None => self.encrypt(outgoing, ready, allowed).map_err(SendError::File)?,
        };
        let bytes = unsent.buffer.get(unsent.start..unsent.end).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(0);
        }
        let sent = stream.try_write(bytes);
        unsent.start += sent.as_ref().unwrap_or(&0);
        if unsent.start < unsent.end {
            self.unsent = Some(unsent);
        }
        sent.map_err(SendError::Socket)
    }

    /// As much of the queue as a buffer holds and is ready. The map is never looked into: files are read.
    fn encrypt(
        &mut self,
        outgoing: &mut Outgoing,
        ready: Option<store::Ready<'_>>,
        allowed: usize,
    ) -> Result<Unsent, StoreError> {
        let mut buffer = self.buffers.take();
        let mut end = 0;
        for segment in outgoing.segments(ready, allowed) {
            let copied = segment.copy(buffer.get_mut(end..).unwrap_or_default())?;
            end += copied;
            if copied < segment.len() {
                break;
            }
        }
        outgoing.advance(end);
        self.streams.encrypt(buffer.get_mut(..end).unwrap_or_default());
        Ok(Unsent { buffer, start: 0, end })
    }
}
