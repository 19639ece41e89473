//! Hosts that come through proxies: known by their own addresses where the operator trusts the proxy, and by the proxy's
//! where not.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use tempfile::TempDir;

use crate::support::DEADLINE;
use crate::support::clients::{Client, Launch, Source};
use crate::support::files::{Contents, MIB};
use crate::support::http::{Request, Response};
use crate::support::net::Host;
use crate::support::process::{Running, command};
use crate::support::swarm::Swarm;
use crate::support::torrent::Torrent;
use crate::support::tracker::{Answer, DOWNLOADER, LOCALHOST, Tracker, announce_target, encode_all, v4};
use crate::support::wait_for;
use crate::support::wire::connect_from;

/// An announce that came through proxies, by what they say of it.
fn through(tracker: &Tracker, port: u16, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(announce_target(&encode_all(&tracker.info_hash), port, DOWNLOADER));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    Answer::read(tracker.server.send(request).expect(200).body)
}

fn known(tracker: &Tracker) -> Vec<SocketAddr> {
    let mut peers = tracker.announce(v4(999), DOWNLOADER).peers();
    peers.retain(|peer| *peer != tracker.origin(LOCALHOST));
    peers.sort();
    peers
}

fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn a_trusted_proxy_is_believed_as_far_as_it_can_know() {
    let tracker = Tracker::with(|setup| {
        setup.option("--trusted-proxy", "127.0.0.1").option("--trusted-proxy", "198.51.100.0/24")
    });
    let forwarded = "X-Forwarded-For";
    through(&tracker, 1001, &[(forwarded, "192.0.2.1")]);
    through(&tracker, 1002, &[(forwarded, "203.0.113.9, 192.0.2.2")]);
    through(&tracker, 1003, &[(forwarded, "203.0.113.9, 192.0.2.3, 198.51.100.7")]);
    // In two lines, and so by way of the router.
    through(&tracker, 1004, &[(forwarded, "203.0.113.9"), (forwarded, "192.0.2.4")]);
    through(&tracker, 1005, &[("Forwarded", "for=203.0.113.9"), ("X-Real-IP", "203.0.113.9")]);
    let expected = ["127.0.0.1:1005", "192.0.2.1:1001", "192.0.2.2:1002", "192.0.2.3:1003", "192.0.2.4:1004"];
    assert_eq!(known(&tracker), addrs(&expected));
}

#[test]
fn nobody_else_is_believed() {
    let tracker = Tracker::with(|setup| setup.option("--trusted-proxy", "192.0.2.0/24"));
    through(&tracker, 1001, &[("X-Forwarded-For", "203.0.113.9")]);
    through(&tracker, 1002, &[("X-Forwarded-For", "nonsense")]);
    // It is no request either.
    let mut stream = TcpStream::connect(tracker.server.http()).expect("it accepts connections");
    stream
        .write_all(b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\nGET /scrape HTTP/1.1\r\n\r\n")
        .expect("it reads");
    assert_eq!(Response::read(&mut BufReader::new(stream), false).status, 400);
    assert_eq!(known(&tracker), addrs(&["127.0.0.1:1001", "127.0.0.1:1002"]));
}

#[test]
fn what_a_proxy_cannot_mean_is_refused_in_words() {
    let tracker = Tracker::with(|setup| setup.option("--trusted-proxy", "127.0.0.1"));
    for (wrong, word) in [("unknown", "X-Forwarded-For"), ("0.0.0.0", "0.0.0.0"), ("224.0.0.1", "224.0.0.1")]
    {
        let reason = through(&tracker, 1001, &[("X-Forwarded-For", wrong)]).failure();
        assert!(reason.contains(word), "{reason:?}");
        let serve = Request::get("/serve?file").header("X-Forwarded-For", wrong);
        assert!(tracker.server.send(serve).expect_sentence(400).text().contains(word));
    }
    assert_eq!(known(&tracker), []);
}

#[test]
fn limits_are_not_changed_through_a_proxy_on_this_machine() {
    let tracker = Tracker::with(|setup| setup.option("--trusted-proxy", "127.0.0.1"));
    let change = || Request::get("/api/v1/limits").method("PUT").body("{\"total\": 1000000}");
    tracker.server.send(change().header("X-Forwarded-For", "192.0.2.1")).expect_sentence(403);
    tracker.server.send(change().header("X-Forwarded-For", "127.0.0.1")).expect_sentence(403);
    tracker.server.send(change()).expect(200);
}

/// This machine by another of its addresses: so it can be a proxy, and ask for itself as well.
const PROXY: &str = "127.0.0.2";

fn behind_proxy_protocol() -> Tracker {
    Tracker::with(|setup| setup.option("--trusted-proxy", PROXY).flag("--proxy-protocol"))
}

fn connect_as_proxy(tracker: &Tracker) -> TcpStream {
    let proxy = PROXY.parse().expect("an address");
    let stream = connect_from(proxy, tracker.server.http()).expect("it accepts connections");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
    stream
}

/// What a relay says in front, and then an announce.
fn introduced(tracker: &Tracker, header: &[u8], port: u16) -> Response {
    let mut stream = connect_as_proxy(tracker);
    let target = announce_target(&encode_all(&tracker.info_hash), port, DOWNLOADER);
    let request = format!("GET {target} HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n");
    // In one packet: what a refused connection said afterwards would reset it.
    stream.write_all(&[header, request.as_bytes()].concat()).expect("the server reads");
    Response::read(&mut BufReader::new(stream), false)
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let len = u16::try_from(addresses.len()).expect("it is short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, addresses].concat()
}

#[test]
fn a_proxy_header_says_who_asks() {
    let tracker = behind_proxy_protocol();
    introduced(&tracker, b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 80\r\n", 1001).expect(200);
    introduced(&tracker, b"PROXY TCP6 2001:db8::2 2001:db8::1 5000 80\r\n", 1002).expect(200);
    let v4_rest = [192, 0, 2, 3, 10, 0, 0, 1, 0x13, 0x88, 0, 80, 0x20, 0, 1, 0];
    introduced(&tracker, &v2(0x21, 0x11, &v4_rest), 1003).expect(200);
    // A health check.
    introduced(&tracker, &v2(0x20, 0, &[]), 1004).expect(200);
    introduced(&tracker, b"PROXY UNKNOWN\r\n", 1005).expect(200);
    let expected =
        ["127.0.0.2:1004", "127.0.0.2:1005", "192.0.2.1:1001", "192.0.2.3:1003", "[2001:db8::2]:1002"];
    assert_eq!(known(&tracker), addrs(&expected));
    for wrong in [&b""[..], b"PROXY TCP4 192.0.2.1\r\n", &v2(0x21, 0x77, &v4_rest), &v2(0x21, 0x11, &[1; 4])]
    {
        introduced(&tracker, wrong, 1006).expect_sentence(400);
    }
    let reason =
        Answer::read(introduced(&tracker, b"PROXY TCP4 224.0.0.1 10.0.0.1 1 2\r\n", 1007).expect(200).body);
    assert!(reason.failure().contains("224.0.0.1"));
    assert_eq!(known(&tracker), addrs(&expected));
}

#[test]
fn a_proxy_header_may_come_byte_by_byte_and_counts_for_all_that_follows() {
    let tracker = behind_proxy_protocol();
    let mut stream = connect_as_proxy(&tracker);
    for byte in v2(0x21, 0x11, &[192, 0, 2, 3, 10, 0, 0, 1, 0x13, 0x88, 0, 80]) {
        stream.write_all(&[byte]).expect("the server reads");
    }
    let mut stream = BufReader::new(stream);
    let target = |port| announce_target(&encode_all(&tracker.info_hash), port, DOWNLOADER);
    Request::get(target(1001)).send_on(&mut stream).expect(200);
    Request::get("/serve?file").send_on(&mut stream).expect(200);
    // By way of the router.
    let answer = Request::get(target(1002)).send_on(&mut stream).expect(200);
    let peers = Answer::read(answer.body).peers();
    assert!(peers.contains(&"192.0.2.3:1001".parse().expect("an address")), "{peers:?}");
    let limits = Request::get("/api/v1/limits").method("PUT").body("{}");
    limits.send_on(&mut stream).expect_sentence(403);
}

/// nginx on a host, which passes everything on to the origin.
fn nginx(host: &Host, directory: &TempDir, origin: IpAddr) -> Running {
    let (address, home) = (host.address(), directory.path().display());
    let conf = format!(
        "daemon off; master_process off; pid {home}/pid; error_log {home}/log;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;\n\
         uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\nserver {{ listen {address}:80;\n location / {{\n\
         proxy_pass http://{origin}:6969; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n"
    );
    let path = directory.path().join("conf");
    fs::write(&path, conf).expect("a file can be written");
    let mut command = command("nginx", Some(host));
    command.arg("-p").arg(directory.path()).arg("-c").arg(&path);
    let running = Running::start("nginx", &mut command, directory.path());
    wait_for("nginx to listen", || host.inside(|| TcpStream::connect((address, 80)).ok()));
    running
}

#[test]
fn a_swarm_that_only_knows_nginx_finds_itself() {
    let contents = Contents::new(7, MIB);
    let swarm = Swarm::with(4, |setup| {
        setup.option("--trusted-proxy", "10.69.69.2").option("--advertise", "10.69.69.1")
    });
    contents.write(swarm.path("file"));
    let [proxy, hosts @ ..] = swarm.hosts() else { panic!("there are hosts") };
    let home = TempDir::new().expect("a temporary directory can be made");
    let _nginx = nginx(proxy, &home, swarm.origin().address());
    let web = SocketAddr::new(proxy.address(), 80);

    let served = hosts[0].inside(|| Request::get("/serve?file").send(web)).expect(200);
    let torrent = Torrent::read(&served.body);
    let text = String::from_utf8_lossy(&torrent.bytes);
    assert!(text.contains(&format!("http://{web}/announce")), "where they can announce");
    // A client that says that it is somebody else.
    let target = |port| announce_target(&encode_all(&torrent.info_hash), port, DOWNLOADER);
    let forged = Request::get(target(1001)).header("X-Forwarded-For", "203.0.113.9");
    hosts[0].inside(|| forged.send(web)).expect(200);
    let answer = hosts[1].inside(|| Request::get(target(1002)).send(web)).expect(200);
    let mut expected =
        vec![SocketAddr::new(hosts[0].address(), 1001), SocketAddr::new(swarm.origin().address(), 6881)];
    expected.sort();
    let mut peers = Answer::read(answer.body).peers();
    peers.sort();
    assert_eq!(peers, expected);

    let url = format!("http://{}/serve?file", proxy.address());
    let source = Source::Torrent(&torrent.bytes);
    let downloads = [
        Launch::from(Client::Libtorrent).start(&hosts[0], source),
        Launch::from(Client::Aria2).start(&hosts[1], Source::Url(&url)),
        Launch::from(Client::Ctorrent).start(&hosts[2], source),
    ];
    for mut download in downloads {
        contents.assert_same(download.finish(), "a client behind nginx");
    }
}
