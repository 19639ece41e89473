//! Packets to peers carry the mark that was asked for: on both families, whoever began the connection.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::support::files::{Contents, PIECE};
use crate::support::net::Host;
use crate::support::swarm::Swarm;
use crate::support::wire::{Door, Peer};

/// AF11 where the header has it, above ECN's two bits.
const AF11: u8 = 0x28;

/// All frames that a host gets.
struct Ear(Socket);

impl Ear {
    fn at(host: &Host) -> Self {
        let all = u16::to_be(libc::ETH_P_ALL as u16);
        host.inside(|| {
            Self(
                Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(all))))
                    .expect("root may"),
            )
        })
    }

    /// Waits for a TCP packet between these ports, with something in it; panics unless it and all before it are marked.
    fn expect_marked(&mut self, from: u16, to: u16) {
        loop {
            let mut frame = [0; 65_536];
            let len = self.0.read(&mut frame).expect("frames can be read");
            let Some((class, segment)) = ip(&frame[..len]) else { continue };
            if segment[..4] == [from.to_be_bytes(), to.to_be_bytes()].concat() {
                assert_eq!(class & 0xfc, AF11, "a packet isn't marked");
                let header_len = usize::from(segment[12] >> 4) * 4;
                if segment.len() > header_len {
                    return;
                }
            }
        }
    }
}

/// The traffic class of a frame with TCP in it, and its segment.
fn ip(frame: &[u8]) -> Option<(u8, &[u8])> {
    let packet = frame.get(14..)?;
    match (frame.get(12..14)?, packet) {
        ([0x08, 0x00], [version, class, ..]) if packet.get(9) == Some(&6) => {
            let len = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
            Some((*class, packet.get(usize::from(version & 0xf) * 4..len)?))
        }
        ([0x86, 0xdd], [first, second, ..]) if packet.get(6) == Some(&6) => {
            Some((first << 4 | second >> 4, packet.get(40..)?))
        }
        _ => None,
    }
}

#[test]
fn packets_to_peers_are_marked_on_both_families_whoever_dialled() {
    let swarm = Swarm::with(1, |setup| setup.option("--dscp", "af11"));
    Contents::new(1, PIECE).write(swarm.path("file"));
    let (origin, host) = (swarm.origin(), &swarm.hosts()[0]);
    let info_hash = swarm.torrent(host, "file").info_hash;
    let port = swarm.server.peers().port();
    for ip in [origin.address(), IpAddr::V6(origin.v6())] {
        let mut ear = Ear::at(host);
        let mut peer = host.inside(|| Peer::join_unchoked(SocketAddr::new(ip, port), info_hash));
        peer.fetch(0, 0, 16_384);
        ear.expect_marked(port, peer.address().port());
    }
    let door = Door::open(host);
    let mut ear = Ear::at(host);
    swarm.announce(host, info_hash, door.port());
    let mut peer = door.accept();
    let from = peer.stream().peer_addr().expect("it is connected").port();
    ear.expect_marked(from, door.port());
}
