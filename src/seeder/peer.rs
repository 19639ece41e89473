//! One peer from its socket to its end: opened, served, and what its end has for consequences.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use distributor_proto::{
    InfoHash, Output, PeerId, Session, SessionConfig, SessionError, Transmit, canonical,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{timeout, timeout_at};
use tracing::{debug, info};

use super::closed::Closed;
use super::connection::{Connection, seeding};
use super::half_open::Handshaking;
use super::hold_off::Verdict;
use super::opening::{self, Opened, OpeningError};
use super::{DialPermit, Shared};
use crate::accept::Admission;
use crate::catalog::Torrent;
use crate::config::Encryption;
use crate::ingest::Doubt;
use crate::racks::Presence;
use crate::tracker::Downloader;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Shared {
    /// Where a peer comes from that has dialled us, if it is to be heard.
    pub(super) fn heard(&self, stream: &TcpStream) -> Option<SocketAddr> {
        let addr = stream.peer_addr().map(canonical).ok()?;
        if self.is_held_off(addr.ip()) {
            self.metrics.held_off.inc();
            debug!(peer = %addr, "closed unheard: its address is held off");
            return None;
        }
        Some(addr)
    }

    /// Serves a peer that has dialled us.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        handshaking: Handshaking,
        admission: Admission,
    ) {
        let mut session = self.session;
        if !admission.is_only_one_of_its_address() {
            // What goes out under choke is meant for newcomers, and is for a host to have once.
            session.allowed_fast = 0;
        }
        self.metrics.peers.inc();
        let closed = self.accept(stream, addr, handshaking, session).await.unwrap_or_else(|closed| closed);
        self.metrics.peers.dec();
        self.conclude(addr, &closed);
    }

    async fn accept(
        &self,
        stream: TcpStream,
        addr: SocketAddr,
        handshaking: Handshaking,
        session: SessionConfig,
    ) -> Result<Closed, Closed> {
        let began = Instant::now();
        self.socket.apply(&stream)?;
        let opening = opening::accept(stream, self.encryption, &self.catalog);
        let opened = self.open(opening, began, &handshaking).await?;
        let session = Session::accept(began, session, addr.ip());
        let mut connection = Connection::accepted(opened, addr, session, handshaking, self)?;
        let closed = connection.run().await;
        self.look_after(addr, connection.peer(), &closed);
        Ok(closed)
    }

    /// Dials a peer and serves it: in the clear, encrypted, or the one after the other, as the policy says.
    pub(super) async fn dial(&self, addr: SocketAddr, torrent: Arc<Torrent>, permit: DialPermit) {
        let ways: &[bool] = match self.encryption {
            Encryption::Off => &[false],
            Encryption::Allow => &[false, true],
            Encryption::Prefer => &[true, false],
            Encryption::Require => &[true],
        };
        let mut permit = Some(permit);
        for encrypted in ways {
            let (mut greeted, began) = (false, Instant::now());
            let closed = loop {
                let Some(permit) = permit.take().or_else(|| self.may_dial(addr.ip())) else { return };
                debug!(peer = %addr, info_hash = %torrent.info_hash(), encrypted, "dialling");
                let closed = self
                    .call(addr, *encrypted, &torrent, permit, &mut greeted)
                    .await
                    .unwrap_or_else(|closed| closed);
                self.conclude(addr, &closed);
                // One in 256, whatever the peer does: its key can't steer what ours makes of it.
                if !closed.is_chance() {
                    break closed;
                }
            };
            if closed.is_refusal() {
                self.tracker.unreachable(&torrent.info_hash(), addr, began);
            }
            if greeted || !is_silence(&closed) {
                return;
            }
        }
    }

    async fn call(
        &self,
        addr: SocketAddr,
        encrypted: bool,
        torrent: &Arc<Torrent>,
        permit: DialPermit,
        greeted: &mut bool,
    ) -> Result<Closed, Closed> {
        let connecting = timeout(CONNECT_TIMEOUT, self.connect(addr));
        let stream = tokio::select! {
            () = self.shutdown.cancelled() => return Err(Closed::Shutdown),
            connected = connecting => connected
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(Closed::Unreachable)?,
        };
        let began = Instant::now();
        let handshaking = self.half_open.enter();
        self.socket.apply(&stream)?;
        let info_hash = torrent.info_hash();
        let presence = self.racks.connect(info_hash, torrent.geometry(), addr.ip(), began);
        let begins_empty = presence.as_ref().is_some_and(Presence::begins_empty);
        let seeding = seeding(torrent, begins_empty);
        let mut session = Session::connect(began, self.session, addr.ip(), info_hash, seeding);
        session.report_pieces(presence.is_some());
        let hello = match session.poll_output() {
            Output::Transmit(Transmit::Bytes(handshake)) => handshake,
            // It says nothing else before the peer has spoken.
            _ => Bytes::new(),
        };
        let opening = opening::dial(stream, encrypted, self.encryption, info_hash, &hello);
        let opened = self.open(opening, began, &handshaking).await?;
        drop(permit);
        let torrent = Arc::clone(torrent);
        let mut connection =
            Connection::dialled(opened, addr, session, handshaking, torrent, presence, self)?;
        self.metrics.peers.inc();
        let closed = connection.run().await;
        self.metrics.peers.dec();
        *greeted = connection.is_greeted();
        self.look_after(addr, connection.peer(), &closed);
        Ok(closed)
    }

    /// From the address that peers know us by, if we listen on one only.
    async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.socket.mark(&socket)?;
        let local = self.local_ip.filter(|ip| ip.is_ipv4() == addr.is_ipv4());
        socket.bind(SocketAddr::new(local.unwrap_or_else(|| unspecified(addr)), 0))?;
        socket.connect(addr).await
    }

    /// Opens a connection within the time that a handshake may take; what is left of it is the session's.
    async fn open(
        &self,
        opening: impl Future<Output = Result<Opened, OpeningError>>,
        began: Instant,
        handshaking: &Handshaking,
    ) -> Result<Opened, Closed> {
        let end = began + self.session.handshake_timeout;
        tokio::select! {
            () = self.shutdown.cancelled() => Err(Closed::Shutdown),
            () = handshaking.displaced() => Err(Closed::Displaced),
            // Boxed, lest every connection hold the room of this for all its life.
            opened = timeout_at(end.into(), Box::pin(opening)) => match opened {
                Ok(opened) => Ok(opened?),
                Err(_) => Err(Closed::OpeningTimedOut),
            },
        }
    }

    /// A connection that was reset may be the end of its host, or of the connection alone: many clients end those so
    /// that they don't need. So the peer is dialled where it says that it can be; whether it refuses tells which it
    /// was.
    fn look_after(&self, addr: SocketAddr, peer: Option<(InfoHash, PeerId)>, closed: &Closed) {
        let Some((info_hash, id)) = peer.filter(|_| self.may_dial && closed.is_reset()) else { return };
        if let Some(addr) = self.tracker.door_of(&info_hash, addr.ip(), &id) {
            self.dialler().announced(Downloader { info_hash, addr }, Instant::now());
        }
    }

    pub(super) fn is_held_off(&self, ip: IpAddr) -> bool {
        self.hold_off.lock().unwrap_or_else(PoisonError::into_inner).holds(ip, Instant::now())
    }

    fn conclude(&self, addr: SocketAddr, closed: &Closed) {
        self.metrics.count_closed(closed.word());
        if closed.is_violation() {
            self.count_violation(addr, closed);
            return;
        }
        debug!(peer = %addr, reason = %closed, "closed");
        if let Some(torrent) = closed.doubted() {
            self.ingest.doubt(torrent, Doubt::Unreadable);
        }
    }

    fn count_violation(&self, addr: SocketAddr, closed: &Closed) {
        let verdict =
            self.hold_off.lock().unwrap_or_else(PoisonError::into_inner).count(addr.ip(), Instant::now());
        match verdict {
            Verdict::First => info!(peer = %addr, reason = %closed, "closed: the peer broke the protocol"),
            Verdict::Again => {
                debug!(peer = %addr, reason = %closed, "closed: the peer broke the protocol again")
            }
            Verdict::HeldOff(violations) => info!(
                peer = %addr, reason = %closed, violations,
                "closed: the peers at this address broke the protocol too often; nothing is accepted from it for a while"
            ),
        }
    }
}

/// Whether a dialled peer that we wouldn't know more of may be one that wants it the other way, encrypted or in the
/// clear: such peers just close. One that can't be reached can't be reached the other way either.
fn is_silence(closed: &Closed) -> bool {
    match closed {
        Closed::Io(_) | Closed::OpeningTimedOut | Closed::Finished => true,
        Closed::Opening(error) => !matches!(error, OpeningError::UnknownTorrent),
        Closed::Protocol(error) => matches!(error, SessionError::Eof | SessionError::HandshakeTimedOut),
        _ => false,
    }
}

fn unspecified(addr: SocketAddr) -> IpAddr {
    if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}
