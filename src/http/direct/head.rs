//! Whether bytes begin with the head of a request that is answered past the router.
//!
//! It is httparse that reads it, as for hyper, with the same bounds; and whatever leaves any doubt is hyper's: a body or
//! the mere mention of one, an upgrade, a target that isn't plain, headers that can't be parsed. So nothing is taken for
//! the end of a request here that would be something else there.

use std::mem::MaybeUninit;

use httparse::{Header, Request, Status};

use super::super::connections::{MAX_HEAD_LEN, MAX_HEADERS};
use super::super::tracker::Page;

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// What may become a question.
    Partial,
    Question(Question<'a>),
    /// Something for hyper.
    Other,
}

/// A GET for `/announce` or `/scrape`, and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question<'a> {
    pub(super) page: Page,
    pub(super) query: &'a [u8],
    /// The digit after `HTTP/1.`.
    pub(super) minor: u8,
    /// Whether the connection stays open for another.
    pub(super) keep_alive: bool,
    /// Its only `X-Forwarded-For`.
    pub(super) forwarded: Option<&'a [u8]>,
    /// How many bytes it takes.
    pub(super) len: usize,
}

/// With these a question begins.
const BEGINNINGS: [&[u8]; 2] = [b"GET /announce", b"GET /scrape"];

/// Reads the head in front. A head of more than [`MAX_HEAD_LEN`] bytes is none.
pub(super) fn read(bytes: &[u8]) -> Head<'_> {
    let begins_like = |wanted: &&[u8]| bytes.iter().zip(*wanted).all(|(byte, wanted)| byte == wanted);
    if !BEGINNINGS.iter().any(begins_like) {
        return Head::Other;
    }
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(len)) if len <= MAX_HEAD_LEN => {
            question(&request, len).map_or(Head::Other, Head::Question)
        }
        Ok(Status::Partial) if bytes.len() < MAX_HEAD_LEN => Head::Partial,
        _ => Head::Other,
    }
}

fn question<'a>(request: &Request<'_, 'a>, len: usize) -> Option<Question<'a>> {
    let target: &'a str = request.path?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let page = Page::of_path(path).filter(|_| request.method == Some("GET"))?;
    let query = query.as_bytes();
    if !query.iter().all(|byte| is_plain(*byte)) {
        return None;
    }
    let minor = request.version?;
    let mut said = Said::default();
    for header in request.headers.iter() {
        said.note(header)?;
    }
    let keep_alive = !said.close && (minor == 1 || said.keep_alive);
    Some(Question { page, query, minor, keep_alive, forwarded: said.forwarded, len })
}

/// What `http::Uri` takes in a query as it stands; it cuts off a fragment, and refuses the rest.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e)
}

/// What headers say that matters here.
#[derive(Default)]
struct Said<'a> {
    close: bool,
    keep_alive: bool,
    forwarded: Option<&'a [u8]>,
}

impl<'a> Said<'a> {
    /// `None` for what is hyper's to handle.
    fn note(&mut self, header: &Header<'a>) -> Option<()> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        // Most names have a length that none of these has.
        match header.name.len() {
            6 if is("expect") => None,
            7 if is("upgrade") => None,
            10 if is("connection") => header.value.split(|byte| *byte == b',').try_for_each(|option| {
                match option.trim_ascii() {
                    option if option.eq_ignore_ascii_case(b"close") => self.close = true,
                    option if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                    _ => return None,
                }
                Some(())
            }),
            14 if is("content-length") => None,
            15 if is("x-forwarded-for") => match self.forwarded.replace(header.value) {
                None => Some(()),
                Some(_) => None,
            },
            17 if is("transfer-encoding") => None,
            _ => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CTORRENT: &str =
        "GET /announce?info_hash=%01&port=6881 HTTP/1.0\r\nUser-Agent: CTorrent/dnh3.3.2\r\n\r\n";
    const LIBTORRENT: &str = "GET /announce?info_hash=%01 HTTP/1.1\r\nHost: origin:6969\r\nUser-Agent: libtorrent/2.0.8\r\n\
                              Accept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    const CURL: &str = "GET /scrape HTTP/1.1\r\nhost: origin\r\nConnection: Keep-Alive\r\n\r\n";

    fn question(text: &str) -> Option<(Page, bool)> {
        match read(text.as_bytes()) {
            Head::Question(question) => {
                assert_eq!(question.len, text.len());
                Some((question.page, question.keep_alive))
            }
            Head::Other => None,
            Head::Partial => panic!("{text:?} is whole"),
        }
    }

    #[test]
    fn reads_what_clients_ask() {
        assert_eq!(question(CTORRENT), Some((Page::Announce, false)));
        assert_eq!(question(LIBTORRENT), Some((Page::Announce, false)));
        assert_eq!(question(CURL), Some((Page::Scrape, true)));
        let old = "GET /scrape?a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(question(old), Some((Page::Scrape, true)));
        let both = "GET /scrape HTTP/1.1\r\nConnection: keep-alive, CLOSE\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(question(both), Some((Page::Scrape, false)));
        let Head::Question(asked) = read(LIBTORRENT.as_bytes()) else { panic!("it is a question") };
        assert_eq!((asked.query, asked.minor, asked.forwarded), (&b"info_hash=%01"[..], 1, None));
    }

    #[test]
    fn waits_for_the_rest_of_each() {
        for whole in [CTORRENT, LIBTORRENT, CURL] {
            for len in 0..whole.len() {
                assert_eq!(read(&whole.as_bytes()[..len]), Head::Partial, "{:?}", &whole[..len]);
            }
        }
    }

    #[test]
    fn leaves_everything_else_to_hyper() {
        for other in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET /serve?file HTTP/1.1\r\n\r\n",
            "GET /announcement HTTP/1.1\r\n\r\n",
            "GET /announce/secret HTTP/1.1\r\n\r\n",
            "GET http://origin/announce HTTP/1.1\r\n\r\n",
            "HEAD /announce HTTP/1.1\r\n\r\n",
            "POST /announce HTTP/1.1\r\n\r\n",
            "get /announce HTTP/1.1\r\n\r\n",
            "GET  /announce HTTP/1.1\r\n\r\n",
            "\r\nGET /announce HTTP/1.1\r\n\r\n",
            "GET /announce HTTP/2.0\r\n\r\n",
            "GET /announce\r\n\r\n",
            "GET /announce?a#b HTTP/1.1\r\n\r\n",
            "GET /announce?\"a\" HTTP/1.1\r\n\r\n",
            "GET /announce?\u{e4} HTTP/1.1\r\n\r\n",
            "GET /announce HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(read(other.as_bytes()), Head::Other, "{other:?}");
        }
    }

    #[test]
    fn leaves_every_mention_of_a_body_to_hyper() {
        for header in [
            "Content-Length: 0",
            "content-length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Transfer-Encoding: chunked",
            "TRANSFER-ENCODING: identity",
            "Transfer-Encoding : chunked",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "Connection: upgrade",
            "Connection: close, TE",
            "X-A: 1\r\n Transfer-Encoding: chunked",
            "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2",
        ] {
            let text = format!("GET /announce?a HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
            assert_eq!(read(text.as_bytes()), Head::Other, "{header:?}");
        }
    }

    #[test]
    fn bounds_heads_as_hyper_does() {
        let with = |headers: usize| format!("GET /scrape HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(headers));
        assert_eq!(question(&with(MAX_HEADERS)), Some((Page::Scrape, true)));
        assert_eq!(question(&with(MAX_HEADERS + 1)), None);
        let of = |len: usize| {
            let text = "GET /scrape HTTP/1.1\r\na: \r\n\r\n";
            text.replace("a: ", &format!("a: {}", "b".repeat(len - text.len())))
        };
        assert_eq!(question(&of(MAX_HEAD_LEN)), Some((Page::Scrape, true)));
        assert_eq!(question(&of(MAX_HEAD_LEN + 1)), None);
        let endless = of(2 * MAX_HEAD_LEN);
        assert_eq!(read(&endless.as_bytes()[..MAX_HEAD_LEN - 1]), Head::Partial);
        assert_eq!(read(&endless.as_bytes()[..MAX_HEAD_LEN]), Head::Other);
    }
}
