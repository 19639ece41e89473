//! One host: its socket, and what it waits for.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::Context;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::answer::{self, Answer};
use crate::options::{Options, Over};
use crate::question::{Question, Swarms};

/// More than any answer.
pub(crate) const SCRATCH_LEN: usize = 64 * 1024;

pub(crate) struct Host {
    /// Its number, by which epoll knows it.
    at: u16,
    over: Over,
    tracker: SocketAddrV4,
    from: Ipv4Addr,
    socket: Option<OwnedFd>,
    question: Question,
    /// The beginning of an answer.
    received: Vec<u8>,
    /// Since when it counts as waiting for an answer.
    pub(crate) asked: Option<Instant>,
    /// How many announces it has made; also says which swarm is next, and numbers transactions.
    pub(crate) announces: u32,
}

impl Host {
    pub(crate) fn new(options: &Options, at: u16) -> Self {
        let first = u32::from(options.from);
        let from = if options.one_address { first } else { first.saturating_add(at.into()) };
        Self {
            at,
            over: options.over,
            tracker: options.tracker,
            from: from.into(),
            socket: None,
            question: Question::new(options, at),
            received: Vec::new(),
            asked: None,
            announces: 0,
        }
    }

    /// Makes the next announce, over a new connection where there is none, which counts as waiting since `due`.
    pub(crate) fn ask(&mut self, epoll: &OwnedFd, swarms: &Swarms, due: Instant) -> anyhow::Result<()> {
        self.asked = Some(due);
        if self.socket.is_none() {
            let socket = self.connect().with_context(|| format!("host {} at {}", self.at, self.from))?;
            epoll::add(epoll, &socket, EventData::new_u64(self.at.into()), EventFlags::IN)?;
            self.socket = Some(socket);
            self.received.clear();
            if self.over == Over::Udp {
                return self.send_connect();
            }
        }
        self.send_announce(swarms)
    }

    fn send_connect(&mut self) -> anyhow::Result<()> {
        if let Some(socket) = &self.socket {
            rustix::net::send(socket, &Question::connect(self.announces), SendFlags::DONTWAIT)?;
        }
        Ok(())
    }

    fn send_announce(&mut self, swarms: &Swarms) -> anyhow::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        // No two hosts go the same way through the swarms.
        let swarm = self.announces as usize + usize::from(self.at) * 37;
        let bytes = self.question.announce(swarms, swarm, self.announces);
        // A question is far smaller than any socket's buffer. Where the tracker has closed a connection that was kept,
        // the next look at it says so.
        match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let kind = if self.over == Over::Udp { SocketType::DGRAM } else { SocketType::STREAM };
        let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
        // Most ports were used a moment before.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(self.from, 0))?;
        rustix::net::connect(&socket, &self.tracker)?;
        Ok(socket)
    }

    /// Takes what has come; an answer if that is whole now.
    pub(crate) fn hear(&mut self, swarms: &Swarms, scratch: &mut [u8]) -> anyhow::Result<Option<Answer>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        let received = match rustix::net::recv(socket, &mut *scratch, RecvFlags::DONTWAIT) {
            Ok((received, _)) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(_) => 0,
        };
        let bytes = &scratch[..received];
        if self.over == Over::Udp {
            return match answer::udp(bytes, self.announces) {
                Some(Answer::Connection(id)) => {
                    self.question.set_connection(id);
                    self.send_announce(swarms)?;
                    Ok(None)
                }
                answer => Ok(self.settle(answer)),
            };
        }
        if bytes.is_empty() {
            self.socket = None;
            // Between two announces a tracker may close what it likes.
            let answer = self.asked.map(|_| Answer::Wrong);
            return Ok(self.settle(answer));
        }
        let whole = if self.received.is_empty() {
            answer::http(bytes)
        } else {
            self.received.extend_from_slice(bytes);
            answer::http(&self.received)
        };
        match whole {
            None if self.received.is_empty() => self.received.extend_from_slice(bytes),
            None => {}
            Some(_) => self.received.clear(),
        }
        if whole.is_some() && self.over == Over::Http {
            self.socket = None;
        }
        Ok(self.settle(whole.map(|(answer, _)| answer)))
    }

    fn settle(&mut self, answer: Option<Answer>) -> Option<Answer> {
        if answer.is_some() {
            self.announces = self.announces.wrapping_add(1);
        }
        answer
    }

    /// No answer came, and none is waited for any more.
    pub(crate) fn give_up(&mut self) {
        self.socket = None;
        self.settle(Some(Answer::Wrong));
    }
}
