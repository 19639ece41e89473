//! A small HTTP client over a bare socket: the test says which version is spoken, whether there is a `Host`, and
//! whether the writing side is closed after the request, as ctorrent does.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer is waited for by the program in a test.
const PATIENCE: Duration = Duration::from_secs(240);

/// A request, as it goes out.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    target: String,
    version: &'static str,
    host: Option<String>,
    headers: String,
    body: String,
    half_close: bool,
}

impl Request {
    /// HTTP/1.1 with the address as `Host`, and `Connection: close`.
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self {
            method: "GET",
            target: target.into(),
            version: "HTTP/1.1",
            host: Some(String::new()),
            headers: String::new(),
            body: String::new(),
            half_close: false,
        }
    }

    pub(crate) fn head(target: impl Into<String>) -> Self {
        Self { method: "HEAD", ..Self::get(target) }
    }

    pub(crate) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// Speaks HTTP/1.0, without a `Host`.
    pub(crate) fn http_1_0(self) -> Self {
        Self { version: "HTTP/1.0", host: None, ..self }
    }

    pub(crate) fn host(self, host: &str) -> Self {
        Self { host: Some(host.to_owned()), ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// With something to send along.
    pub(crate) fn body(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }.header("Content-Length", &body.len().to_string())
    }

    /// Closes the writing side once the request is written.
    pub(crate) fn half_close(self) -> Self {
        Self { half_close: true, ..self }
    }

    /// Sends it on a connection of its own and reads the answer to its end.
    pub(crate) fn send(self, to: SocketAddr) -> Response {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("the HTTP address accepts connections");
        let close = if self.version == "HTTP/1.1" { self.header("Connection", "close") } else { self };
        close.send_on(&mut BufReader::new(stream))
    }

    /// Sends it on a connection that stays open if the server will have it so.
    pub(crate) fn send_on(self, stream: &mut BufReader<TcpStream>) -> Response {
        let socket = stream.get_mut();
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        let to = socket.peer_addr().expect("a connected socket has a peer");
        let host = match self.host.as_deref() {
            None => String::new(),
            Some("") => format!("Host: {to}\r\n"),
            Some(host) => format!("Host: {host}\r\n"),
        };
        let request = format!(
            "{} {} {}\r\n{host}{}\r\n{}",
            self.method, self.target, self.version, self.headers, self.body
        );
        socket.write_all(request.as_bytes()).expect("the server reads the request");
        if self.half_close {
            socket.shutdown(Shutdown::Write).expect("a socket can be half-closed");
        }
        Response::read(stream, self.method == "HEAD")
    }
}

/// `GET` of a target such as `/serve?name`.
pub(crate) fn get(to: SocketAddr, target: impl Into<String>) -> Response {
    Request::get(target).send(to)
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Reads one from a connection on which a request was sent.
    pub(crate) fn read(stream: &mut impl BufRead, head: bool) -> Self {
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line).expect("an answer's head is text and comes in time");
            line.trim_end().to_owned()
        };
        let first = line();
        let mut words = first.split(' ');
        assert!(
            words.next().is_some_and(|word| word.starts_with("HTTP/1.")),
            "not an HTTP answer: {first:?}"
        );
        let status = words.next().and_then(|word| word.parse().ok()).expect("a status is a number");
        let mut headers = Vec::new();
        loop {
            let line = line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header has a colon");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        answer.body = answer.read_body(stream, head);
        answer
    }

    fn read_body(&self, stream: &mut impl BufRead, head: bool) -> Vec<u8> {
        if head || self.status == 304 {
            return Vec::new();
        }
        let mut body = Vec::new();
        let length =
            self.header("content-length").map(|length| length.parse().expect("a length is a number"));
        if self.header("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                stream.read_line(&mut size).expect("a chunk begins with its size");
                let size = u64::from_str_radix(size.trim(), 16).expect("a chunk's size is hexadecimal");
                stream.take(size).read_to_end(&mut body).expect("a chunk comes in time");
                stream.read_line(&mut String::new()).expect("a chunk ends with a line end");
                if size == 0 {
                    return body;
                }
            }
        } else if let Some(length) = length {
            stream.take(length).read_to_end(&mut body).expect("a body comes in time");
            assert_eq!(body.len() as u64, length, "the connection ended within the body");
        } else {
            stream.read_to_end(&mut body).expect("a body comes in time");
        }
        body
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body where it should be words.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics, and shows the answer, unless the status is this one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {:?}", self.headers, self.text());
        self
    }

    /// A sample of `/metrics` by its name and labels as they stand there; 0 while it isn't there.
    #[track_caller]
    pub(crate) fn sample(&self, name: &str) -> u64 {
        let text = self.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}")))
    }

    /// As [`Self::expect`], for an answer that must explain itself in one plain sentence.
    #[track_caller]
    pub(crate) fn expect_sentence(self, status: u16) -> Self {
        let answer = self.expect(status);
        let text = answer.text();
        let kind = answer.header("content-type").unwrap_or("none");
        assert!(kind.starts_with("text/plain"), "an explanation's type is {kind}");
        assert!(text.trim().len() > 10, "an explanation of {status} is {text:?}");
        assert_eq!(text.trim().lines().count(), 1, "an explanation of {status} is {text:?}");
        answer
    }
}

/// Everything but letters, digits, `-._~` and `/` as `%XX`: right in a query for any file name.
pub(crate) fn percent_encode(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    bytes.iter().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
