//! Announces and scrapes past hyper and the router: most of what a tracker is asked, and always the same few lines.
//!
//! A connection begins here. As long as it asks nothing else it stays here; with the first request that isn't a plain GET
//! for one of these two it is handed over, with what was read already, and stays there. What is read and what is answered
//! doesn't depend on the way it takes.
//!
//! | file | what it owns |
//! |---|---|
//! | `head` | whether bytes begin with a question |
//! | `talk` | what is said on a connection, bytes to bytes |
//! | `desk` | answers, and the buffers for them |

mod desk;
mod head;
mod talk;

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use distributor_proto::canonical;
use prometheus_client::metrics::counter::Counter;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::desk::Desk;
use self::talk::{Next, Talk};
use super::connections::HEAD_TIMEOUT;
use super::proxies::{ForwardedError, Proxies};
use super::tracker;
use crate::announce::{Announces, Ends};
use crate::metrics::Metrics;

/// What questions are answered from.
#[derive(Debug)]
pub(super) struct Direct {
    announces: Arc<Announces>,
    pub(super) proxies: Proxies,
    /// Where all connections come in, if that is one address: it need not be asked of each.
    listening: Option<SocketAddr>,
    /// What addresses asked beyond their limit: connections that waited, and that were closed unheard; questions.
    waited: Counter,
    closed: Counter,
    refused: Counter,
}

impl Direct {
    /// `listening` is where connections are accepted, be it at all addresses.
    pub(super) fn new(
        announces: Arc<Announces>,
        proxies: Proxies,
        listening: Option<SocketAddr>,
        metrics: &Metrics,
    ) -> Self {
        let listening = listening.filter(|addr| !addr.ip().is_unspecified());
        let [waited, closed, refused] =
            ["waited", "closed", tracker::REFUSED].map(|fate| metrics.over_limit(fate));
        Self { announces, proxies, listening, waited, closed, refused }
    }

    /// Has a newcomer pay for its first question, and says how long it waits before it is heard. `None` where too many of
    /// its address wait already. Proxies pay for nothing: those pay for whom they ask.
    pub(super) fn let_in(&self, ip: IpAddr, now: Instant) -> Option<Duration> {
        if !self.has_paid(ip) {
            return Some(Duration::ZERO);
        }
        let wait = self.announces.allowances.reserve(ip, now);
        match wait {
            Some(Duration::ZERO) => {}
            Some(_) => _ = self.waited.inc(),
            None => _ = self.closed.inc(),
        }
        wait
    }

    /// Whether who connects from there paid as it was let in.
    fn has_paid(&self, ip: IpAddr) -> bool {
        !self.proxies.trust(ip)
    }
}

/// A connection on which there is more to come.
#[derive(Debug)]
pub(super) struct Conversation<S = std::net::TcpStream> {
    stream: S,
    talk: Talk,
    next: Next,
    /// Answers that the socket didn't take at once.
    unsent: Vec<u8>,
}

/// What is left of a connection for hyper.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) stream: TcpStream,
    /// What was read of it and not answered.
    pub(super) kept: Vec<u8>,
    pub(super) own: Ends,
    pub(super) asker: Result<Ends, ForwardedError>,
}

impl Conversation {
    /// Answers what has come with a connection that was just accepted. `None` where that was all: it is closed then, and
    /// the runtime never heard of it.
    pub(super) fn begin(stream: std::net::TcpStream, remote: SocketAddr, direct: &Direct) -> Option<Self> {
        let local = direct.listening.map_or_else(|| stream.local_addr(), Ok).ok()?;
        let own = Ends { local: canonical(local), remote: canonical(remote) };
        let now = Instant::now();
        let mut talk = Talk::new(own, direct, now);
        let (next, unsent) = Desk::with(|desk| match (&stream).read(&mut desk.input) {
            Ok(0) => Ok((Next::Close, Vec::new())),
            Ok(read) => {
                let next = hear(&mut talk, read, direct, desk, now);
                let sent = sent(send(&stream, &desk.out, next))?;
                Ok((next, desk.out.get(sent..).unwrap_or_default().to_vec()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((Next::Read, Vec::new())),
            Err(error) => Err(error),
        })
        .ok()?;
        let is_over = next == Next::Close && unsent.is_empty();
        (!is_over).then_some(Self { stream, talk, next, unsent })
    }

    /// Goes on until the connection is over, or for hyper.
    pub(super) async fn go_on(self, direct: &Direct, shutdown: &CancellationToken) -> Option<Rest> {
        let Self { stream, talk, next, unsent } = self;
        let remote = talk.own.remote;
        let served = match TcpStream::from_std(stream) {
            Ok(stream) => Conversation { stream, talk, next, unsent }.serve(direct, shutdown).await,
            Err(error) => Err(error),
        };
        served.inspect_err(|error| debug!(client = %remote, %error, "HTTP connection ended")).ok()?
    }
}

impl Conversation<TcpStream> {
    async fn serve(mut self, direct: &Direct, shutdown: &CancellationToken) -> io::Result<Option<Rest>> {
        let shut_down = shutdown.cancelled();
        // Set anew only when it is over: most clients have been heard again by then.
        let silence = sleep_until((self.talk.since + HEAD_TIMEOUT).into());
        tokio::pin!(shut_down, silence);
        loop {
            if !self.unsent.is_empty() {
                // All who have asked by now are heard first, and then answered together: who hears many answers is woken
                // for the first, and finds the others there.
                tokio::task::yield_now().await;
                self.send().await?;
            }
            match self.next {
                Next::Read => {}
                // Whoever asks for much at a time waits as the others do.
                Next::Answer => tokio::task::yield_now().await,
                Next::Close => return Ok(None),
                Next::HandOver => {
                    let Self { stream, talk: Talk { kept, own, asker, .. }, .. } = self;
                    return Ok(Some(Rest { stream, kept, own, asker }));
                }
            }
            tokio::select! {
                biased;
                turned = poll_fn(|cx| self.poll_turn(cx, direct)) => turned?,
                () = &mut shut_down => return Ok(None),
                () = &mut silence => {
                    let until = self.talk.since + HEAD_TIMEOUT;
                    if until <= Instant::now() {
                        return Ok(None);
                    }
                    silence.as_mut().reset(until.into());
                }
            }
        }
    }

    /// Hears what comes. What that is answered is still to be sent.
    fn poll_turn(&mut self, cx: &mut Context<'_>, direct: &Direct) -> Poll<io::Result<()>> {
        let Self { stream, talk, next, unsent } = self;
        Desk::with(|desk| {
            let mut read = 0;
            if *next == Next::Read {
                let mut room = ReadBuf::new(&mut desk.input);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut room))?;
                read = room.filled().len();
                if read == 0 {
                    *next = Next::Close;
                    return Poll::Ready(Ok(()));
                }
            }
            *next = hear(talk, read, direct, desk, Instant::now());
            desk.out.clone_into(unsent);
            Poll::Ready(Ok(()))
        })
    }

    async fn send(&mut self) -> io::Result<()> {
        let Self { stream, next, unsent, .. } = self;
        let unsent = std::mem::take(unsent);
        let sent = sent(stream.try_io(Interest::WRITABLE, || send(&*stream, &unsent, *next)))?;
        match unsent.get(sent..) {
            None | Some([]) => Ok(()),
            Some(rest) => stream.write_all(rest).await,
        }
    }
}

/// Has the talk hear so much of what lies on the desk. Answers lie there then.
fn hear(talk: &mut Talk, read: usize, direct: &Direct, desk: &mut Desk, now: Instant) -> Next {
    let input = std::mem::take(&mut desk.input);
    let next = talk.hear(input.get(..read).unwrap_or_default(), direct, desk, now);
    desk.input = input;
    next
}

/// Sends what the socket takes at once. What closes the connection follows at once, and goes in the same packet.
fn send(socket: impl AsFd, bytes: &[u8], next: Next) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let more = if next == Next::Close { SendFlags::MORE } else { SendFlags::empty() };
    Ok(rustix::net::send(socket, bytes, more | SendFlags::NOSIGNAL)?)
}

/// How much of it was sent: nothing where the socket is full.
fn sent(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}
