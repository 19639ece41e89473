//! Whole batches over real sockets: who gets which answer, and from where.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use distributor_proto::UDP_CONNECT_ANSWER_LEN;

use super::*;
use crate::announce::tests::of_nothing;
use crate::tracker::Allowances;

/// More than any test takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A tracker without torrents.
struct Room {
    socket: Socket,
    batch: Batch,
    answers: Answers,
    desk: Desk,
    rng: SmallRng,
}

impl Room {
    fn at(addr: &str) -> Self {
        let now = Instant::now();
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = Socket::new(tokio::net::UdpSocket::from_std(socket).unwrap()).unwrap();
        let announces = of_nothing(Allowances::new(None, now), now);
        Self {
            batch: Batch::new(socket.arrival),
            answers: Answers::default(),
            desk: Desk::new(announces.into(), [1; 16], now),
            rng: SmallRng::seed_from_u64(1),
            socket,
        }
    }

    /// Waits until so many packets have come, in however many batches; says what became of them.
    async fn answer(&mut self, count: usize) -> Vec<Fate> {
        let mut fates = Vec::new();
        while fates.len() < count {
            self.socket.receive(&mut self.batch).await.unwrap();
            let of_batch =
                answer_all(&self.socket, &mut self.batch, &mut self.answers, &mut self.desk, &mut self.rng);
            fates.extend_from_slice(&of_batch[..self.batch.len()]);
        }
        fates
    }
}

/// Somebody who hears nobody but whom he asks.
struct Asker(UdpSocket);

impl Asker {
    fn new(from: SocketAddr, at: SocketAddr) -> Self {
        let socket = UdpSocket::bind(from).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.connect(at).unwrap();
        Self(socket)
    }

    fn connects(&self, transaction: u32) {
        let question = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 4], &transaction.to_be_bytes()];
        self.0.send(&question.concat()).unwrap();
    }

    /// The transaction of the next answer, which gives a connection id.
    fn hears(&self) -> u32 {
        let mut answer = [0; UDP_CONNECT_ANSWER_LEN + 1];
        assert_eq!(self.0.recv(&mut answer).unwrap(), UDP_CONNECT_ANSWER_LEN);
        assert_eq!(answer[..4], [0; 4]);
        u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]])
    }
}

/// A batch's worth of askers and some more at `at`, one of whom sends garbage: that one hears nothing, and all others what
/// they asked for.
async fn all_are_answered(room: &mut Room, from: impl Fn(u8) -> SocketAddr, at: SocketAddr) {
    const GARBAGE: usize = 7;
    let askers: Vec<_> = (0..MAX_PACKETS as u8 + 3).map(|n| Asker::new(from(n), at)).collect();
    for (n, asker) in askers.iter().enumerate() {
        if n == GARBAGE { _ = asker.0.send(b"garbage").unwrap() } else { asker.connects(n as u32) }
    }
    let fates = room.answer(askers.len()).await;
    let malformed = fates.iter().filter(|fate| **fate == Fate::Malformed).count();
    let connected = fates.iter().filter(|fate| **fate == Fate::Connected).count();
    assert_eq!((malformed, connected), (1, askers.len() - 1));
    // What it hears first is what it asks next.
    askers[GARBAGE].connects(GARBAGE as u32);
    assert_eq!(room.answer(1).await, [Fate::Connected]);
    for (n, asker) in askers.iter().enumerate() {
        assert_eq!(asker.hears(), n as u32);
    }
}

#[tokio::test]
async fn each_of_a_batch_is_answered_for_itself_from_where_it_asked() {
    let host = |n: u8| SocketAddr::from(([127, 0, 1, n + 1], 0));
    for (listening, asked) in
        [("127.0.0.1:0", [127, 0, 0, 1]), ("0.0.0.0:0", [127, 0, 0, 5]), ("[::]:0", [127, 0, 0, 5])]
    {
        let mut room = Room::at(listening);
        let at = SocketAddr::from((asked, room.socket.port));
        all_are_answered(&mut room, host, at).await;
    }
}

#[tokio::test]
async fn those_who_ask_over_ipv6_are_answered_too() {
    for listening in ["[::]:0", "[::1]:0"] {
        let mut room = Room::at(listening);
        let at = format!("[::1]:{}", room.socket.port).parse().unwrap();
        all_are_answered(&mut room, |_| "[::1]:0".parse().unwrap(), at).await;
    }
}
