//! One connection: its socket, which blocks nobody, and the conversation over it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use distributor_load::Torrent;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use socket2::{Domain, Socket, Type};

use crate::conversation::Conversation;
use crate::http::Http;
use crate::options::Options;
use crate::peer::Peer;
use crate::report::Tally;
use crate::walk::{Walk, first_piece};

/// For a seeder to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Connection {
    pub(crate) conversation: Box<dyn Conversation>,
    /// Until it was closed.
    pub(crate) socket: Option<TcpStream>,
    /// How much it has brought since it counts, or at all.
    pub(crate) bytes: u64,
    /// Its number, by which epoll knows it.
    at: u32,
    /// Whether epoll says when it can write more.
    writing: bool,
}

impl Connection {
    /// Connection number `at`, in the hands of epoll.
    pub(crate) fn open(
        options: &Options,
        torrent: &Torrent,
        epoll: &OwnedFd,
        at: u32,
    ) -> anyhow::Result<Self> {
        let socket =
            connect(options, at).with_context(|| format!("connection {at} to {}", options.seeder))?;
        epoll::add(epoll, &socket, EventData::new_u64(at.into()), EventFlags::IN | EventFlags::OUT)?;
        let conversation = conversation(options, torrent, at);
        let mut connection = Self { conversation, socket: Some(socket), bytes: 0, at, writing: true };
        // At once: a seeder may hang up on those who have said nothing when many more come.
        connection.write(epoll)?;
        Ok(connection)
    }

    /// Reads once, at most as much as `scratch` holds: where there is more, epoll says so again, after it was
    /// everybody's turn.
    pub(crate) fn read(
        &mut self,
        torrent: &Torrent,
        scratch: &mut [u8],
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        match socket.read(scratch) {
            Ok(0) => bail!("the seeder closed it"),
            Ok(len) => {
                let before = tally.bytes;
                let result = self.conversation.received(torrent, &scratch[..len], Instant::now(), tally);
                self.bytes += tally.bytes - before;
                result
            }
            Err(error) if is_for_later(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what there is to say, as far as the socket takes it.
    pub(crate) fn write(&mut self, epoll: &OwnedFd) -> anyhow::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        while !self.conversation.out().is_empty() {
            match socket.write(self.conversation.out()) {
                Ok(len) => drop(self.conversation.out().drain(..len)),
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let writing = !self.conversation.out().is_empty();
        if writing != self.writing {
            let flags = if writing { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(epoll, &*socket, EventData::new_u64(self.at.into()), flags)?;
            self.writing = writing;
        }
        Ok(())
    }
}

fn conversation(options: &Options, torrent: &Torrent, at: u32) -> Box<dyn Conversation> {
    let Options { connections, once, check, depth, .. } = *options;
    if let Some(path) = &options.http {
        let start = |at| u64::from(first_piece(torrent, at, connections)) * u64::from(torrent.piece_len(0));
        let end = if once { start(at + 1).min(torrent.len()) } else { torrent.len() };
        return Box::new(Http::new(path, start(at)..end, !once));
    }
    let walk = if once { Walk::once } else { Walk::endless }(torrent, at, connections);
    Box::new(Peer::new(torrent, peer_id(at), depth, walk, check, Instant::now()))
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn connect(options: &Options, at: u32) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(options.seeder), Type::STREAM, None)?;
    if let Some(from) = options.from {
        socket.bind(&SocketAddr::new(later(from, at).context("no address is left")?, 0).into())?;
    }
    socket.connect_timeout(&options.seeder.into(), CONNECT_TIMEOUT)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The address that comes `by` after this.
fn later(address: IpAddr, by: u32) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(by).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(v6) => v6.to_bits().checked_add(by.into()).map(|bits| IpAddr::V6(bits.into())),
    }
}

/// No known client's, and no two the same: some seeders keep one connection an id.
fn peer_id(at: u32) -> [u8; 20] {
    let mut id = *b"-LG0001-000000000000";
    id[8..].copy_from_slice(format!("{:06}{at:06}", std::process::id() % 1_000_000).as_bytes());
    id
}
