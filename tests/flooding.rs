//! One address that asks the tracker without end: it is refused, and nobody else is. Limits are one question a second, and
//! so four at once; however slow the machine, nobody asks a thousand in as many seconds here.

use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::support::DEADLINE;
use crate::support::http::{Request, Response};
use crate::support::tracker::{Answer, DOWNLOADER, Tracker, announce_target, encode_all};
use crate::support::udp::{Announce, Asker, action, connect};
use crate::support::wait_for;
use crate::support::wire::connect_from;

/// What an address may ask at once.
const AT_ONCE: usize = 4;
/// More than anybody asks in the time that a test takes.
const WITHOUT_END: usize = 1000;

fn with_limit(questions_a_second: &str) -> Tracker {
    Tracker::with(|setup| setup.option("--max-announce-rate-per-address", questions_a_second))
}

fn flooder() -> IpAddr {
    "127.0.0.7".parse().expect("an address")
}

fn neighbour() -> IpAddr {
    "127.0.0.8".parse().expect("an address")
}

fn connection(tracker: &Tracker, from: IpAddr) -> TcpStream {
    let stream = connect_from(from, tracker.server.http()).expect("it accepts connections");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
    stream
}

fn question(tracker: &Tracker) -> Request {
    Request::get(announce_target(&encode_all(&tracker.info_hash), 1001, DOWNLOADER))
}

/// Asks over one connection; says whether it was told of peers, or why not.
fn ask(tracker: &Tracker, stream: &mut BufReader<TcpStream>) -> Result<(), (String, Response)> {
    let response = question(tracker).send_on(stream).expect(200);
    let answer = Answer::read(response.body.clone());
    if answer.value.find("failure reason").is_none() { Ok(()) } else { Err((answer.failure(), response)) }
}

#[test]
fn who_asks_without_end_over_one_connection_is_told_when_to_come_again_and_it_is_closed() {
    let tracker = with_limit("1");
    let mut stream = BufReader::new(connection(&tracker, flooder()));
    let mut answered = 0;
    let (reason, refusal) = (0..WITHOUT_END)
        .find_map(|_| {
            let refused = ask(&tracker, &mut stream).err();
            answered += usize::from(refused.is_none());
            refused
        })
        .expect("it is refused in the end");
    assert!(answered >= AT_ONCE, "refused after {answered}");
    assert!(reason.contains("too many"), "{reason}");
    assert_eq!(refusal.header("connection"), Some("close"));
    assert_eq!(stream.read(&mut [0]).expect("it is closed in order"), 0);
    ask(&tracker, &mut BufReader::new(connection(&tracker, neighbour()))).expect("its neighbour is answered");
    // A second later there is one more for it; its connection waits for that.
    ask(&tracker, &mut BufReader::new(connection(&tracker, flooder()))).expect("it is answered again");
    assert!(tracker.server.metric("distributor_http_over_limit_total{fate=\"refused\"}") >= 1);
}

#[test]
fn of_who_connects_without_end_some_wait_and_most_are_closed_unheard_while_others_are_answered() {
    let tracker = with_limit("1");
    let target = announce_target(&encode_all(&tracker.info_hash), 1001, DOWNLOADER);
    let text = format!("GET {target} HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n");
    let flood: Vec<TcpStream> = (0..WITHOUT_END)
        .map(|_| {
            let mut stream = connection(&tracker, flooder());
            // It may be closed already.
            let _ = stream.write_all(text.as_bytes());
            stream
        })
        .collect();
    // Whatever waits before it waits no longer than a moment.
    ask(&tracker, &mut BufReader::new(connection(&tracker, neighbour()))).expect("its neighbour is answered");
    let answered = flood.into_iter().filter(|stream| {
        let mut answer = Vec::new();
        let _ = (&mut &*stream).read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 200")
    });
    let answered = answered.count();
    assert!((AT_ONCE..WITHOUT_END).contains(&answered), "{answered} were answered");
    assert!(tracker.server.metric("distributor_http_over_limit_total{fate=\"closed\"}") >= 1);
}

/// Announces over UDP. Packets are taken in their order: whatever comes before the answer to the next is the answer to
/// this, and there may be none.
fn announce_over_udp(tracker: &Tracker, asker: &Asker, id: [u8; 8]) -> Option<u32> {
    let next = connect(u32::MAX);
    asker.send(&Announce::of(tracker.info_hash, 1001).packet(id, 2));
    asker.send(&next);
    let head = |packet: &[u8]| u32::from_be_bytes(packet[..4].try_into().expect("four bytes"));
    let first = asker.receive();
    if head(&first) == action::CONNECT {
        return None;
    }
    assert_eq!(head(&asker.receive()), action::CONNECT);
    Some(head(&first))
}

#[test]
fn who_asks_without_end_over_udp_is_refused_while_others_are_answered() {
    let tracker = with_limit("1");
    let asker = |from| Asker::new(from, SocketAddr::new(from, tracker.server.http().port()));
    let (flooder, neighbour) = (asker(flooder()), asker(neighbour()));
    let id = flooder.id();
    let answers: Vec<_> = (0..WITHOUT_END)
        .map(|_| announce_over_udp(&tracker, &flooder, id))
        .take_while(|answer| *answer == Some(action::ANNOUNCE))
        .collect();
    assert!((AT_ONCE..WITHOUT_END).contains(&answers.len()), "{} were answered", answers.len());
    neighbour.announce(Announce::of(tracker.info_hash, 1001));
    let again = || announce_over_udp(&tracker, &flooder, id).filter(|answer| *answer == action::ANNOUNCE);
    wait_for("it to be answered again", again);
}

#[test]
fn the_limit_can_be_turned_off() {
    let tracker = with_limit("0");
    let mut stream = BufReader::new(connection(&tracker, flooder()));
    for _ in 0..WITHOUT_END {
        ask(&tracker, &mut stream).expect("everybody may ask as often as they like");
    }
}
