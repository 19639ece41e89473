//! What else HTTP connections may carry than one request in one piece: many, in pieces, of different kinds, and some that
//! try to be taken for another.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::support::DEADLINE;
use crate::support::http::{Request, Response};
use crate::support::tracker::{Answer, DOWNLOADER, Tracker, announce_target, encode_all};

/// One connection, on which a test says what it likes.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("it accepts connections");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes options");
        Self(BufReader::new(stream))
    }

    fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("the server reads");
    }

    fn hear(&mut self) -> Response {
        Response::read(&mut self.0, false)
    }

    /// The server has said all, and closes.
    fn expect_close(mut self) {
        let mut rest = Vec::new();
        // By a reset, where it left something unread.
        let _ = self.0.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

fn announce(tracker: &Tracker, port: u16) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: origin\r\n",
        announce_target(&encode_all(&tracker.info_hash), port, DOWNLOADER)
    )
}

fn scrape(tracker: &Tracker) -> String {
    format!("GET /scrape?info_hash={} HTTP/1.1\r\nHost: origin\r\n", encode_all(&tracker.info_hash))
}

#[test]
fn one_connection_carries_announces_scrapes_and_everything_else() {
    let tracker = Tracker::new();
    let mut connection = Connection::to(tracker.server.http());
    for port in [1001, 1002] {
        connection.say(announce(&tracker, port) + "\r\n");
        let answer = connection.hear().expect(200);
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
        assert_eq!(answer.header("connection"), None);
        assert_eq!(Answer::read(answer.body).peers().len(), usize::from(port) - 1000);
    }
    connection.say(scrape(&tracker) + "\r\n");
    Answer::read(connection.hear().expect(200).body);
    let request = Request::get("/serve?file");
    request.send_on(&mut connection.0).expect(200);
    // It is in other hands now, and the answers are the same.
    connection.say(announce(&tracker, 1003) + "\r\n");
    let answer = connection.hear().expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(Answer::read(answer.body).peers().len(), 3);
    Request::head("/scrape").send_on(&mut connection.0).expect(200);
    connection.say(announce(&tracker, 1004) + "Connection: close\r\n\r\n");
    assert_eq!(connection.hear().expect(200).header("connection"), Some("close"));
    connection.expect_close();
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    const COUNT: usize = 200;
    let tracker = Tracker::new();
    let mut connection = Connection::to(tracker.server.http());
    let mut all = String::new();
    for n in 0..COUNT {
        all += &match n % 50 {
            49 => scrape(&tracker),
            _ => announce(&tracker, 1001),
        };
        all += "\r\n";
    }
    all += "GET /serve?file HTTP/1.1\r\n\r\n";
    all += &announce(&tracker, 1002);
    all += "Connection: close\r\n\r\nGET /scrape HTTP/1.1\r\n\r\n";
    connection.say(all);
    for n in 0..COUNT {
        let value = Answer::read(connection.hear().expect(200).body).value;
        assert_eq!(value.find("files").is_some(), n % 50 == 49, "answer {n}: {value:?}");
    }
    let torrent = connection.hear().expect(200);
    assert_eq!(torrent.header("content-type"), Some("application/x-bittorrent"));
    assert_eq!(connection.hear().expect(200).header("connection"), Some("close"));
    // What came after the close was never asked.
    connection.expect_close();
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let tracker = Tracker::new();
    for request in [announce(&tracker, 1001), scrape(&tracker), "GET /serve?file HTTP/1.1\r\n".to_owned()] {
        let mut connection = Connection::to(tracker.server.http());
        for byte in (request + "\r\n").bytes() {
            connection.say([byte]);
        }
        connection.hear().expect(200);
    }
}

#[test]
fn a_client_that_says_no_more_is_answered_first() {
    let tracker = Tracker::new();
    let mut connection = Connection::to(tracker.server.http());
    connection.say(announce(&tracker, 1001) + "\r\n" + &announce(&tracker, 1001) + "\r\n");
    connection.0.get_mut().shutdown(Shutdown::Write).expect("a socket can be half-closed");
    for _ in 0..2 {
        assert_eq!(Answer::read(connection.hear().expect(200).body).peers().len(), 1);
    }
    connection.expect_close();
}

/// Were a body taken for the next request, whoever shares a proxy's connection would get another's answer.
#[test]
fn what_a_request_carries_is_no_request() {
    let tracker = Tracker::new();
    let hidden = "GET /serve_last_updated HTTP/1.1\r\nHost: origin\r\n\r\n";
    let (len, chunked) = (hidden.len(), format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()));
    for (headers, body) in [
        (format!("Content-Length: {len}"), hidden),
        (format!("content-length:{len}\r\nContent-Length: {len}"), hidden),
        ("Transfer-Encoding: chunked".to_owned(), chunked.as_str()),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(), chunked.as_str()),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {len}"), chunked.as_str()),
    ] {
        let mut connection = Connection::to(tracker.server.http());
        let last = announce(&tracker, 1002) + "Connection: close\r\n\r\n";
        connection.say(format!("{}{headers}\r\n\r\n{body}{last}", announce(&tracker, 1001)));
        let mut said = Vec::new();
        // By a reset, where it would hear no more.
        let _ = connection.0.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!((1..=2).contains(&said.matches("HTTP/1.1 ").count()), "{headers}: {said}");
        assert!(!said.contains("application/x-bittorrent"), "{headers}: {said}");
    }
}

#[test]
fn heads_that_leave_a_doubt_are_refused() {
    let tracker = Tracker::new();
    let many = "a: b\r\n".repeat(65);
    for (headers, status) in [
        ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("Content-Length: +1\r\n", 400),
        ("X-A: 1\r\n Content-Length: 10\r\n", 400),
        ("Content-Length : 10\r\n", 400),
        ("no colon\r\n", 400),
        (&many, 431),
    ] {
        let mut connection = Connection::to(tracker.server.http());
        connection.say(announce(&tracker, 1001) + headers + "\r\n");
        assert_eq!(connection.hear().status, status, "{:?}", &headers[..headers.len().min(40)]);
    }
    assert_eq!(tracker.scrape()[1], 0, "none of them announced anybody");
}
