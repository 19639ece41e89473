//! Questions to answers, bytes to bytes, in buffers that every connection of a thread uses in its turn: an announce takes
//! no memory, and a connection that waits holds none.

use std::cell::RefCell;
use std::io::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::super::proxies::ForwardedError;
use super::super::tracker::{self, Answerer};
use super::Direct;
use super::head::Question;
use crate::announce::Ends;

/// What is read at once: some dozen announces.
pub(super) const INPUT_LEN: usize = 16 * 1024;

/// The buffers.
#[derive(Debug)]
pub(super) struct Desk {
    /// Room for what is read.
    pub(super) input: Vec<u8>,
    /// Answers that were not written yet.
    pub(super) out: Vec<u8>,
    body: Vec<u8>,
    answerer: Answerer,
    date: Date,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            input: vec![0; INPUT_LEN],
            out: Vec::new(),
            body: Vec::new(),
            answerer: Answerer::default(),
            date: Date::default(),
        }
    }
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

impl Desk {
    /// Lets the thread's own be used, by one at a time: who uses it must not wait for anything.
    pub(super) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        DESK.with_borrow_mut(|desk| {
            desk.out.clear();
            work(desk)
        })
    }

    /// Appends the answer to one question of whoever is at the connection's other end. Says whether the connection stays
    /// open.
    pub(super) fn answer(
        &mut self,
        direct: &Direct,
        asker: &Result<Ends, ForwardedError>,
        is_paid: bool,
        mut question: Question<'_>,
        now: Instant,
    ) -> bool {
        self.body.clear();
        let Direct { announces, proxies, .. } = direct;
        let asker = asker.clone().and_then(|asker| proxies.asker(asker, question.forwarded.into_iter()));
        match asker {
            Ok(ends) if is_paid || tracker::pays(announces, ends.remote.ip(), now, &mut self.body) => {
                let Question { page, query, .. } = question;
                self.answerer.answer(announces, page, query, ends, now, &mut self.body);
            }
            Ok(_) => {
                direct.refused.inc();
                question.keep_alive = false;
            }
            Err(error) => tracker::refuse(&error, &mut self.body),
        }
        self.put_answer(&question);
        question.keep_alive
    }

    /// The same that hyper would write, and in the same version: HTTP/1.0 is answered so.
    fn put_answer(&mut self, question: &Question<'_>) {
        let connection = match (question.keep_alive, question.minor) {
            (false, _) => "connection: close\r\n",
            (true, 0) => "connection: keep-alive\r\n",
            (true, _) => "",
        };
        let (minor, len, date) = (question.minor, self.body.len(), self.date.text(SystemTime::now()));
        // A buffer takes everything.
        let _ = write!(
            self.out,
            "HTTP/1.{minor} 200 OK\r\ncontent-type: text/plain\r\ncache-control: no-store\r\n{connection}\
             content-length: {len}\r\ndate: {date}\r\n\r\n"
        );
        self.out.extend_from_slice(&self.body);
    }
}

/// The time as HTTP writes it, made once a second.
#[derive(Debug, Default)]
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn text(&mut self, now: SystemTime) -> &str {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second || self.text.is_empty() {
            (self.second, self.text) = (second, httpdate::fmt_http_date(now));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tracker::Page;
    use super::*;
    use std::time::Duration;

    #[test]
    fn writes_one_head_for_each_way_to_ask() {
        let answer = |minor, keep_alive| {
            let mut desk = Desk { body: b"d5:filesdee".to_vec(), ..Desk::default() };
            let question =
                Question { page: Page::Scrape, query: b"", minor, keep_alive, forwarded: None, len: 0 };
            desk.put_answer(&question);
            let text = String::from_utf8(desk.out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, "d5:filesdee");
            let head: Vec<_> =
                head.lines().filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect();
            head.join("|")
        };
        let rest = |connection| {
            format!("content-type: text/plain|cache-control: no-store|{connection}content-length: 11")
        };
        assert_eq!(answer(1, true), format!("HTTP/1.1 200 OK|{}", rest("")));
        assert_eq!(answer(1, false), format!("HTTP/1.1 200 OK|{}", rest("connection: close|")));
        assert_eq!(answer(0, true), format!("HTTP/1.0 200 OK|{}", rest("connection: keep-alive|")));
        assert_eq!(answer(0, false), format!("HTTP/1.0 200 OK|{}", rest("connection: close|")));
    }

    #[test]
    fn makes_a_date_for_each_second() {
        let mut date = Date::default();
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(date.text(at(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date.text(at(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.text(at(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.text(at(784_111_778_000)), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
