//! A UDP socket for many askers: some dozens of packets a system call, and answers that leave from the address that was
//! asked, which is not the one that the system would choose where a host has several. What packets say is not known
//! here.

use std::array;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use distributor_proto::canonical;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::announce::Ends;

/// Room for one entry of a batch: the system may hand over several packets of one sender as one (UDP_GRO), up to the
/// longest that there can be. Pages that nothing was written to take no memory.
const ENTRY_LEN: usize = 64 * 1024;

/// What may lie in the system's queue, where thousands of hosts start in one second. The system lowers it to
/// net.core.rmem_max.
const QUEUE_LEN: usize = 4 * 1024 * 1024;

/// A bound socket, and what the system has to do for it.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    port: u16,
}

/// What was received last.
pub(super) struct Batch {
    storage: Vec<u8>,
    entries: [RecvMeta; BATCH_SIZE],
    received: usize,
}

/// One packet of a batch.
pub(super) struct Packet<'a> {
    pub(super) bytes: &'a [u8],
    /// As the system says it, scope included.
    from: SocketAddr,
    /// At which of this host's addresses.
    to: IpAddr,
    port: u16,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            storage: vec![0; BATCH_SIZE * ENTRY_LEN],
            entries: array::from_fn(|_| RecvMeta::default()),
            received: 0,
        }
    }
}

impl Packet<'_> {
    pub(super) fn ends(&self) -> Ends {
        Ends { local: canonical(SocketAddr::new(self.to, self.port)), remote: canonical(self.from) }
    }
}

impl Socket {
    /// Has the system say for each packet where it was sent to.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let port = socket.local_addr()?.port();
        let state = UdpSocketState::new((&socket).into())?;
        // A shorter queue loses packets sooner, and that is all.
        let _ = SockRef::from(&socket).set_recv_buffer_size(QUEUE_LEN);
        Ok(Self { socket, state, port })
    }

    /// Waits for packets, and takes as many as there are and have room.
    pub(super) async fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.received = 0;
        let Batch { storage, entries, received } = batch;
        let mut rooms = storage.chunks_exact_mut(ENTRY_LEN);
        let mut rooms: [IoSliceMut<'_>; BATCH_SIZE] =
            array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let receive = || self.state.recv((&self.socket).into(), &mut rooms, entries);
        *received = self.socket.async_io(Interest::READABLE, receive).await?;
        Ok(())
    }

    /// The packets of a batch, one by one.
    pub(super) fn packets<'a>(&self, batch: &'a Batch) -> impl Iterator<Item = Packet<'a>> + use<'a> {
        let port = self.port;
        let entries = batch.entries.iter().zip(batch.storage.chunks_exact(ENTRY_LEN)).take(batch.received);
        entries.flat_map(move |(entry, bytes)| {
            let packets = bytes.get(..entry.len).unwrap_or_default().chunks(entry.stride.max(1));
            let from = entry.addr;
            entry
                .dst_ip
                .into_iter()
                .flat_map(move |to| packets.clone().map(move |bytes| Packet { bytes, from, to, port }))
        })
    }

    /// Answers the sender of a packet.
    pub(super) fn send(&self, answer: &[u8], packet: &Packet<'_>) -> io::Result<()> {
        let transmit = Transmit {
            destination: packet.from,
            ecn: None,
            contents: answer,
            segment_size: None,
            src_ip: Some(packet.to),
        };
        self.state.try_send((&self.socket).into(), &transmit)
    }
}
