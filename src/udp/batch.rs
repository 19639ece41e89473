//! Packets of many senders in one system call, and the answers to them in another (`recvmmsg`, `sendmmsg`). When there
//! are any, and what they say, is not known here.
//!
//! An answer goes back by what the system said of its question: to the name that it came from, and from the address that
//! it came to, which is not the one that the system would choose where a host has several.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, offset_of};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use distributor_proto::{MAX_UDP_ANSWER_LEN, MAX_UDP_REQUEST_LEN, canonical};
use libc::{in_pktinfo, in6_pktinfo, sockaddr_in, sockaddr_in6};

use crate::announce::Ends;

/// How many packets are taken at a time.
pub(super) const MAX_PACKETS: usize = 32;

/// Room for a packet: a byte more than the longest question has. One that fills it is known to be too long, and what lies
/// beyond is never looked at.
const ROOM_LEN: usize = MAX_UDP_REQUEST_LEN + 1;

/// The bytes of a control message before what it says.
const CONTROL_HEAD_LEN: usize = size_of::<libc::cmsghdr>();
/// Room for the only one that a packet has, to the next boundary.
const CONTROL_LEN: usize = CONTROL_HEAD_LEN + size_of::<in6_pktinfo>().next_multiple_of(size_of::<usize>());

/// How it is known at which of this host's addresses packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// All at this one.
    At(IpAddr),
    /// The system says so of each: IP_PKTINFO.
    ToldV4,
    /// The same at a socket of IPv6, or of both families: IPV6_RECVPKTINFO.
    ToldV6,
}

/// What the system fills in and reads as something else.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
struct Raw<const LEN: usize>([u8; LEN]);

impl<const LEN: usize> Raw<LEN> {
    /// The `N` bytes that begin at `at`.
    fn field<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }
}

/// What the system says of a packet, and is told with its answer.
#[derive(Clone, Debug)]
struct Said {
    /// From whom: a `sockaddr_in` or a `sockaddr_in6`.
    name: Raw<{ size_of::<sockaddr_in6>() }>,
    name_len: libc::socklen_t,
    /// To which address: an `in_pktinfo` or an `in6_pktinfo` behind its head, or nothing.
    control: Raw<CONTROL_LEN>,
    control_len: usize,
}

impl Said {
    /// Nothing yet, and room for all that can be.
    const NOTHING: Self = Self {
        name: Raw([0; _]),
        name_len: size_of::<sockaddr_in6>() as libc::socklen_t,
        control: Raw([0; _]),
        control_len: CONTROL_LEN,
    };

    fn from(&self) -> Option<SocketAddr> {
        let family = u16::from_ne_bytes(self.name.field(offset_of!(sockaddr_in, sin_family))?);
        let ip: IpAddr = match family.into() {
            libc::AF_INET => self.name.field::<4>(offset_of!(sockaddr_in, sin_addr))?.into(),
            libc::AF_INET6 => self.name.field::<16>(offset_of!(sockaddr_in6, sin6_addr))?.into(),
            _ => return None,
        };
        // It lies in the same place in both.
        let port = u16::from_be_bytes(self.name.field(offset_of!(sockaddr_in, sin_port))?);
        Some(canonical(SocketAddr::new(ip, port)))
    }

    fn to(&self, arrival: Arrival) -> Option<IpAddr> {
        let said = |at: usize| CONTROL_HEAD_LEN + at;
        let ip = match arrival {
            Arrival::At(ip) => ip,
            _ if self.control_len < CONTROL_HEAD_LEN => return None,
            Arrival::ToldV4 => self.control.field::<4>(said(offset_of!(in_pktinfo, ipi_spec_dst)))?.into(),
            Arrival::ToldV6 => self.control.field::<16>(said(offset_of!(in6_pktinfo, ipi6_addr)))?.into(),
        };
        Some(ip.to_canonical())
    }

    /// The answer goes out by the way that its receiver's address takes, whichever way the question came.
    fn leave_way_open(&mut self, arrival: Arrival) {
        let at = match arrival {
            Arrival::At(_) => return,
            Arrival::ToldV4 => offset_of!(in_pktinfo, ipi_ifindex),
            Arrival::ToldV6 => offset_of!(in6_pktinfo, ipi6_ifindex),
        };
        let index = self.control.0.iter_mut().skip(CONTROL_HEAD_LEN + at).take(size_of::<libc::c_int>());
        index.for_each(|byte| *byte = 0);
    }

    /// Has a header say where it lies, and how long it is.
    fn point_at(&mut self, header: &mut libc::msghdr) {
        header.msg_name = self.name.0.as_mut_ptr().cast();
        header.msg_namelen = self.name_len;
        header.msg_control = self.control.0.as_mut_ptr().cast();
        header.msg_controllen = self.control_len as _;
    }
}

/// Room for a packet.
#[derive(Clone, Debug)]
struct Entry {
    said: Said,
    bytes: [u8; ROOM_LEN],
    len: usize,
}

/// What was received last.
#[derive(Debug)]
pub(super) struct Batch {
    arrival: Arrival,
    entries: Vec<Entry>,
    received: usize,
}

/// One packet of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Which one it is, by which it is answered.
    pub(super) number: usize,
    pub(super) bytes: &'a [u8],
    pub(super) ends: Ends,
}

impl Batch {
    /// Packets that come to a port, whose arrival is known like this.
    pub(super) fn new(arrival: Arrival) -> Self {
        let entry = Entry { said: Said::NOTHING, bytes: [0; _], len: 0 };
        Self { arrival, entries: vec![entry; MAX_PACKETS], received: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.received
    }

    /// The packets, at the host's `port`, whose two ends are known.
    pub(super) fn packets(&self, port: u16) -> impl Iterator<Item = Packet<'_>> {
        let entries = self.entries.iter().take(self.received).enumerate();
        entries.filter_map(move |(number, entry)| {
            let local = SocketAddr::new(entry.said.to(self.arrival)?, port);
            let bytes = entry.bytes.get(..entry.len)?;
            Some(Packet { number, bytes, ends: Ends { local, remote: entry.said.from()? } })
        })
    }

    /// Takes as many packets as there are and have room, in the place of those before. `WouldBlock` where there are none.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.received = 0;
        let (mut vectors, mut headers) = ([NO_BYTES; MAX_PACKETS], no_headers());
        let rooms = vectors.iter_mut().zip(&mut headers);
        for (entry, (vector, header)) in self.entries.iter_mut().zip(rooms) {
            entry.said = Said::NOTHING;
            entry.said.point_at(&mut header.msg_hdr);
            *vector = libc::iovec { iov_base: entry.bytes.as_mut_ptr().cast(), iov_len: ROOM_LEN };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: there are as many headers as it is told. Each points at one vector on this stack and into an entry of
        // its own, which nobody else looks at meanwhile, and says how much room there is.
        let received = unsafe {
            let (headers, count) = (headers.as_mut_ptr(), MAX_PACKETS as libc::c_uint);
            libc::recvmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (entry, header) in self.entries.iter_mut().zip(headers).take(self.received) {
            entry.len = header.msg_len as usize;
            entry.said.name_len = header.msg_hdr.msg_namelen;
            entry.said.control_len = header.msg_hdr.msg_controllen as _;
            entry.said.leave_way_open(self.arrival);
        }
        Ok(())
    }

    /// Sends answers to packets of this batch. `unsent` hears of each packet whose answer the system doesn't take.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, answers: &Answers, mut unsent: impl FnMut(usize)) {
        let (mut vectors, mut headers) = ([NO_BYTES; MAX_PACKETS], no_headers());
        let mut numbers = [0; MAX_PACKETS];
        let mut count = 0;
        let rooms = vectors.iter_mut().zip(&mut headers).zip(&mut numbers);
        for ((number, bytes), ((vector, header), at)) in answers.iter().zip(rooms) {
            let Some(entry) = self.entries.get_mut(number) else { break };
            entry.said.point_at(&mut header.msg_hdr);
            // The system only reads what it sends.
            *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            *at = number;
            count += 1;
        }
        let send = |from: usize| {
            let headers = headers.get_mut(from..count).unwrap_or_default();
            // SAFETY: there are as many headers as it is told. Each points at one vector on this stack, which spans bytes
            // borrowed for the call, and into an entry, at a name and a control message of the lengths that it says.
            let sent = unsafe {
                let count = headers.len() as libc::c_uint;
                libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
            };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        };
        send_each(count, send, |at| unsent(numbers.get(at).copied().unwrap_or_default()));
    }
}

const NO_BYTES: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

fn no_headers() -> [libc::mmsghdr; MAX_PACKETS] {
    // SAFETY: this is plain data for which all zeroes means "nothing there".
    unsafe { mem::zeroed() }
}

/// Has so many messages sent, some at a time: `send` begins with one and says how many of it and those that follow it has
/// sent, or why not even the first. That one is left out, and `unsent` hears of it.
fn send_each(count: usize, mut send: impl FnMut(usize) -> io::Result<usize>, mut unsent: impl FnMut(usize)) {
    let mut next = 0;
    while next < count {
        match send(next) {
            Ok(sent @ 1..) => next += sent,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                unsent(next);
                next += 1;
            }
        }
    }
}

/// Answers to packets of a batch, until all are sent together.
#[derive(Debug)]
pub(super) struct Answers {
    bytes: Vec<u8>,
    /// Of which packet each is, and where it lies.
    places: Vec<(usize, Range<usize>)>,
}

impl Default for Answers {
    /// As much room as there can ever be need of.
    fn default() -> Self {
        let bytes = Vec::with_capacity(MAX_PACKETS * MAX_UDP_ANSWER_LEN);
        Self { bytes, places: Vec::with_capacity(MAX_PACKETS) }
    }
}

impl Answers {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    /// Has `write` append the answer to a packet, or nothing.
    pub(super) fn write<T>(&mut self, number: usize, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.bytes.len();
        let written = write(&mut self.bytes);
        if self.bytes.len() > start {
            self.places.push((number, start..self.bytes.len()));
        }
        written
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.places.iter().filter_map(|(number, place)| Some((*number, self.bytes.get(place.clone())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// More than any test takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn socket(addr: &str) -> UdpSocket {
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    /// A tracker's socket, one that has sent it a packet of so many bytes, and the batch of that packet alone.
    fn asked(len: usize) -> (UdpSocket, UdpSocket, Batch) {
        let (tracker, asker) = (socket("127.0.0.1:0"), socket("127.0.0.2:0"));
        asker.connect(tracker.local_addr().unwrap()).unwrap();
        asker.send(&vec![7; len]).unwrap();
        tracker.peek(&mut [0]).unwrap();
        let mut batch = Batch::new(Arrival::At(tracker.local_addr().unwrap().ip()));
        batch.receive(tracker.as_fd()).unwrap();
        assert_eq!(batch.len(), 1);
        (tracker, asker, batch)
    }

    fn heard(asker: &UdpSocket) -> Vec<u8> {
        let mut room = [0; MAX_UDP_ANSWER_LEN];
        let len = asker.recv(&mut room).unwrap();
        room[..len].to_vec()
    }

    #[test]
    fn one_that_cannot_be_answered_keeps_no_other_from_its_answer() {
        let (tracker, asker, mut batch) = asked(1);
        // All have asked, but nobody may send to the address of the second.
        for number in 1..3 {
            batch.entries[number] = batch.entries[0].clone();
        }
        batch.received = 3;
        let at = offset_of!(sockaddr_in, sin_addr);
        batch.entries[1].said.name.0[at..at + 4].copy_from_slice(&[255; 4]);
        let mut answers = Answers::default();
        for (number, answer) in [b"first", b"other", b"third"].into_iter().enumerate() {
            answers.write(number, |out| out.extend(answer));
        }
        let mut unsent = Vec::new();
        batch.send(tracker.as_fd(), &answers, |number| unsent.push(number));
        assert_eq!(unsent, [1]);
        assert_eq!([heard(&asker), heard(&asker)], [b"first", b"third"]);
    }

    #[test]
    fn knows_a_packet_that_is_longer_than_any_question() {
        for (sent, seen) in [(MAX_UDP_REQUEST_LEN, MAX_UDP_REQUEST_LEN), (10_000, MAX_UDP_REQUEST_LEN + 1)] {
            let (_tracker, asker, batch) = asked(sent);
            let packet = batch.packets(6969).next().unwrap();
            assert_eq!(packet.bytes, vec![7; seen]);
            assert_eq!(packet.ends.remote, asker.local_addr().unwrap());
            assert_eq!(packet.ends.local, "127.0.0.1:6969".parse().unwrap());
        }
    }

    #[test]
    fn says_of_no_packet_that_it_came_where_the_system_did_not_say() {
        let (_tracker, _asker, mut batch) = asked(1);
        for arrival in [Arrival::ToldV4, Arrival::ToldV6] {
            batch.arrival = arrival;
            assert!(batch.packets(6969).next().is_none());
        }
    }

    /// What `send_each` asks of a socket that says this, each time it is asked; and which messages are left out.
    fn sending(count: usize, says: &[io::Result<usize>]) -> (Vec<usize>, Vec<usize>) {
        let (mut asked, mut unsent, mut says) = (Vec::new(), Vec::new(), says.iter());
        let send = |from| {
            asked.push(from);
            match says.next() {
                Some(Ok(sent)) => Ok(*sent),
                Some(Err(error)) => Err(error.kind().into()),
                None => Ok(count - from),
            }
        };
        send_each(count, send, |number| unsent.push(number));
        (asked, unsent)
    }

    #[test]
    fn sends_on_behind_what_a_full_socket_does_not_take() {
        let full = || Err(ErrorKind::WouldBlock.into());
        assert_eq!(sending(0, &[]), (vec![], vec![]));
        assert_eq!(sending(5, &[]), (vec![0], vec![]));
        assert_eq!(sending(5, &[Ok(3), full()]), (vec![0, 3, 4], vec![3]));
        assert_eq!(sending(2, &[full(), full()]), (vec![0, 1], vec![0, 1]));
        assert_eq!(sending(2, &[Ok(0)]), (vec![0, 1], vec![0]), "it doesn't ask without end");
        assert_eq!(sending(2, &[Err(ErrorKind::Interrupted.into())]), (vec![0, 0], vec![]));
    }
}
