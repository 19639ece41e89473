//! Packets written out, honest and not: who is answered, what, from where, and in how many bytes.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use crate::support::files::{Contents, KIB};
use crate::support::http;
use crate::support::net::Net;
use crate::support::server::refusal;
use crate::support::swarm::Swarm;
use crate::support::tracker::{DOWNLOADER, LOCALHOST, LOCALHOST_V6, SEEDER, Tracker, v4, v6};
use crate::support::udp::{Announce, Asker, action, connect, event, packet};
use crate::support::wait_for;
use crate::support::wire::Door;

/// Nobody's torrent.
const UNKNOWN: [u8; 20] = [7; 20];

impl Tracker {
    /// Somebody on this machine who asks over UDP.
    fn asker(&self, ip: IpAddr) -> Asker {
        Asker::new(ip, SocketAddr::new(ip, self.server.http().port()))
    }

    fn by(&self, port: u16) -> Announce {
        Announce::of(self.info_hash, port)
    }

    /// A packet is counted once its answer is sent, and so perhaps only after that has come.
    fn wait_for_udp_packets(&self, count: u64, fate: &str) {
        let metric = format!("distributor_udp_packets_total{{fate=\"{fate}\"}}");
        wait_for(&format!("{count} packets {fate}"), || (self.server.metric(&metric) == count).then_some(()));
    }
}

#[test]
fn a_downloader_is_told_of_the_origin_and_of_others_but_not_of_itself() {
    let tracker = Tracker::new();
    let asker = tracker.asker(LOCALHOST);
    let origin = tracker.origin(LOCALHOST);
    let first = asker.announce(tracker.by(1001));
    assert_eq!(first.peers, [origin]);
    assert_eq!((first.leechers, first.seeders), (1, 1));
    assert!((30..=45).contains(&first.interval), "{}", first.interval);
    let mut peers = asker.announce(tracker.by(1002)).peers;
    peers.sort();
    let mut expected = [origin, v4(1001)];
    expected.sort();
    assert_eq!(peers, expected);
    tracker.wait_for_udp_packets(2, "announced");
}

#[test]
fn who_announces_over_http_and_over_udp_is_in_one_swarm() {
    let tracker = Tracker::new();
    let asker = tracker.asker(LOCALHOST);
    tracker.announce(v4(1001), DOWNLOADER);
    assert!(asker.announce(tracker.by(1002)).peers.contains(&v4(1001)));
    assert!(tracker.announce(v4(1003), DOWNLOADER).peers().contains(&v4(1002)));
    asker.announce(Announce { event: event::STOPPED, ..tracker.by(1002) });
    assert_eq!(tracker.announce(v4(1004), SEEDER).peers().len(), 2, "one has left");
}

#[test]
fn each_family_is_told_of_its_own_peers_and_of_the_origin_where_it_was_asked() {
    let tracker = Tracker::new();
    tracker.announce(v4(1001), DOWNLOADER);
    tracker.announce(v6(1002), DOWNLOADER);
    for (ip, other) in [(LOCALHOST, v4(1001)), (LOCALHOST_V6, v6(1002))] {
        let mut peers = tracker.asker(ip).announce(tracker.by(1003)).peers;
        peers.sort();
        let mut expected = [other, tracker.origin(ip)];
        expected.sort();
        assert_eq!(peers, expected);
    }
}

#[test]
fn an_origin_of_the_other_family_takes_no_place_of_another_peer() {
    let tracker = Tracker::with(|setup| setup.option("--peers", "127.0.0.1:0"));
    tracker.announce(v6(1002), DOWNLOADER);
    let one = Announce { numwant: 1, ..tracker.by(1003) };
    assert_eq!(tracker.asker(LOCALHOST_V6).announce(one).peers, [v6(1002)]);
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    let tracker = Tracker::new();
    // The system would answer from 127.0.0.1, and an asker's socket hears nobody else than whom it asked.
    let asked: IpAddr = "127.0.0.5".parse().expect("an address");
    let asker = Asker::new(LOCALHOST, SocketAddr::new(asked, tracker.server.http().port()));
    assert_eq!(asker.announce(tracker.by(1001)).peers, [tracker.origin(asked)]);
}

#[test]
fn an_answer_comes_from_the_address_of_a_host_with_several_that_was_asked() {
    let swarm = Swarm::on(Net::new(2));
    Contents::new(1, KIB).write(swarm.path("file"));
    let host = &swarm.hosts()[0];
    let info_hash = swarm.torrent(host, "file").info_hash;
    let others = ["10.69.69.100", "fd69::100"].map(|ip| ip.parse::<IpAddr>().expect("an address"));
    for ip in others {
        swarm.origin().add_address(ip);
    }
    let known = [swarm.origin().address(), swarm.origin().v6().into()];
    for ip in known.into_iter().chain(others) {
        let own = if ip.is_ipv4() { host.address() } else { host.v6().into() };
        let asker = host.inside(|| Asker::new(own, SocketAddr::new(ip, 6969)));
        let peers = asker.announce(Announce::of(info_hash, 1001)).peers;
        assert_eq!(peers, [SocketAddr::new(ip, 6881)], "the origin is where the asker reached it");
    }
}

#[test]
fn nobody_gets_more_peers_than_asked_for_and_none_more_than_one_packet_holds() {
    let tracker = Tracker::new();
    for port in 2000..2300 {
        tracker.announce(v4(port), DOWNLOADER);
        tracker.announce(v6(port), DOWNLOADER);
    }
    for (ip, most) in [(LOCALHOST, 200), (LOCALHOST_V6, 67)] {
        let asker = tracker.asker(ip);
        let peers = |numwant| asker.announce(Announce { numwant, ..tracker.by(1001) }).peers;
        assert_eq!(peers(0), []);
        assert_eq!(peers(1), [tracker.origin(ip)], "the origin above all");
        assert_eq!(peers(5).len(), 5);
        assert_eq!(peers(-1).len(), 50);
        assert_eq!(peers(i32::MAX).len(), most);
    }
}

#[test]
fn a_scrape_gives_numbers_in_the_order_of_its_torrents() {
    let tracker = Tracker::new();
    let asker = tracker.asker(LOCALHOST);
    asker.announce(tracker.by(1001));
    asker.announce(Announce { left: 0, event: event::COMPLETED, ..tracker.by(1002) });
    let known = [2, 1, 1];
    assert_eq!(asker.scrape(&[UNKNOWN, tracker.info_hash, UNKNOWN]), [[0; 3], known, [0; 3]]);
    assert_eq!(asker.scrape(&[tracker.info_hash; 74]), [known; 74]);
    assert!(asker.scrape(&[]).is_empty());
    let too_many = [packet(asker.id(), action::SCRAPE, 5), [UNKNOWN; 75].concat()].concat();
    assert!(asker.refusal(&too_many).contains("more than 74"));
}

#[test]
fn who_asks_for_what_there_is_not_is_told_why_and_leaves_nothing_behind() {
    let tracker = Tracker::new();
    let asker = tracker.asker(LOCALHOST);
    let id = asker.id();
    for n in 0..1000_u32 {
        let mut made_up = UNKNOWN;
        made_up[..4].copy_from_slice(&n.to_be_bytes());
        let reason = asker.refusal(&Announce::of(made_up, 1001).packet(id, n));
        assert!(reason.contains("no file of this torrent"), "{reason}");
    }
    assert_eq!(asker.scrape(&[[0; 20], UNKNOWN]), [[0; 3]; 2]);
    tracker.wait_for_udp_packets(1000, "refused");
}

#[test]
fn an_id_is_for_the_address_that_it_was_sent_to_and_no_other() {
    let tracker = Tracker::new();
    let owner = tracker.asker(LOCALHOST);
    let id = owner.id();
    let announce = tracker.by(1001).packet(id, 9);
    // 127.0.0.9 announces with it, as somebody would who forges its packets' sender.
    let forger = Asker::new("127.0.0.9".parse().expect("an address"), tracker.server.http());
    forger.assert_ignored(&[announce.clone(), packet(id, action::SCRAPE, 9), packet([0; 8], 7, 7)]);
    tracker.asker(LOCALHOST_V6).assert_ignored(std::slice::from_ref(&announce));
    tracker.wait_for_udp_packets(4, "stranger");
    assert_eq!(tracker.scrape(), [1, 0, 0], "nobody was announced");
    // Another socket of its owner may show it.
    tracker.asker(LOCALHOST).ask(&announce, action::ANNOUNCE);
    assert_eq!(tracker.scrape(), [1, 1, 0]);
}

#[test]
fn who_has_shown_no_id_gets_no_answer_longer_than_its_question() {
    let tracker = Tracker::new();
    let asker = tracker.asker(LOCALHOST);
    asker.send(&connect(1));
    assert_eq!(asker.receive().len(), connect(1).len());
    let announce = tracker.by(1001).packet(*b"guessed!", 9);
    let scrape = [packet(*b"guessed!", action::SCRAPE, 9), tracker.info_hash.to_vec()].concat();
    let question = connect(9);
    let truncated = (0..question.len()).map(|len| question[..len].to_vec());
    let wrong: Vec<Vec<u8>> =
        truncated.chain([announce, scrape, vec![0xff; 2048], vec![0; 60_000]]).collect();
    asker.assert_ignored(&wrong);
    // Those that are too short, one of them empty, and the one that is too long.
    tracker.wait_for_udp_packets(17, "malformed");
    tracker.wait_for_udp_packets(3, "stranger");
}

#[test]
fn who_shows_its_id_is_told_what_is_wrong_with_its_question() {
    let tracker = Tracker::new();
    let asker = tracker.asker(LOCALHOST);
    let id = asker.id();
    let announce = tracker.by(1001).packet(id, 9);
    for len in 16..announce.len() {
        assert!(asker.refusal(&announce[..len]).contains(&format!("{len} bytes")));
    }
    assert_eq!(tracker.scrape(), [1, 0, 0], "nobody was announced");
    assert!(asker.refusal(&packet(id, 4, 9)).contains("no action 4"));
    // Whatever follows an announce are options, or nothing that we know.
    for rest in [&b"\x02\x09/announce\x00"[..], b"\x02", b"\xff\xff", &[1; 500]] {
        asker.ask(&[&announce[..], rest].concat(), action::ANNOUNCE);
    }
}

#[test]
fn an_announce_is_for_the_address_that_it_came_from() {
    let tracker = Tracker::new();
    let asker = tracker.asker(LOCALHOST);
    // Each says that it is 9.9.9.9, and is believed its port alone.
    asker.announce(tracker.by(1001));
    asker.announce(Announce { event: event::NONE, ..tracker.by(0) });
    let peers = asker.announce(tracker.by(1002)).peers;
    assert_eq!(peers.len(), 2);
    assert!(peers.contains(&v4(1001)), "{peers:?}");
}

#[test]
fn a_downloader_that_does_not_come_by_is_dialled() {
    let swarm = Swarm::on(Net::new(2));
    Contents::new(1, KIB).write(swarm.path("file"));
    let host = &swarm.hosts()[0];
    let info_hash = swarm.torrent(host, "file").info_hash;
    let door = Door::open(host);
    let origin = SocketAddr::new(swarm.origin().address(), 6969);
    let asker = host.inside(|| Asker::new(host.address(), origin));
    asker.announce(Announce::of(info_hash, door.port()));
    door.accept();
}

#[test]
fn it_can_be_turned_off() {
    /// By chance the port may be another test's.
    const ATTEMPTS: usize = 5;
    let is_left_to_others = (0..ATTEMPTS).any(|_| {
        let tracker = Tracker::with(|setup| setup.flag("--no-udp"));
        let addr = tracker.server.http();
        let is_left_to_others = UdpSocket::bind(addr).is_ok();
        assert_eq!(http::get(addr, "/no-such-page").status, 404);
        is_left_to_others
    });
    assert!(is_left_to_others);
}

#[test]
fn refuses_a_port_that_is_in_use_for_udp() {
    // Of the ports that nobody is given by chance, or another test's server might have it for HTTP.
    let held = (20_000..30_000)
        .find_map(|port| {
            let udp = UdpSocket::bind((LOCALHOST, port)).ok()?;
            TcpListener::bind((LOCALHOST, port)).ok().map(|_| udp)
        })
        .expect("a port is free");
    let taken = held.local_addr().expect("a socket has an address").to_string();
    let text = refusal(&["serve", "/tmp", "--http", &taken, "--peers", "127.0.0.1:0", "--no-state"], 1);
    assert!(text.contains(&taken) && text.contains("UDP"), "{text}");
}
