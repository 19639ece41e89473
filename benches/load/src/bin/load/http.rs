//! The same file over HTTP (RFC 9112), from a server that only sends it: what there is to lose by asking for blocks.
//!
//! A connection asks for the rest of the file from where it begins, then for the whole file again and again, or once
//! for its part.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, ensure};
use distributor_load::Torrent;

use crate::conversation::Conversation;
use crate::report::Tally;

/// The longest head of an answer, in bytes.
const MAX_HEAD_LEN: usize = 16 * 1024;

pub(crate) struct Http {
    path: String,
    out: Vec<u8>,
    /// The head of the answer, up to its empty line.
    head: Vec<u8>,
    /// Of the answer's body.
    left: u64,
    endless: bool,
    over: bool,
}

impl Http {
    /// Asks for a range of the file, then for all of it without end if it is to.
    pub(crate) fn new(path: &str, range: Range<u64>, endless: bool) -> Self {
        let (out, head) = (Vec::new(), Vec::new());
        let mut http = Self { path: path.to_owned(), out, head, left: 0, endless, over: false };
        http.ask(&range);
        http
    }

    fn ask(&mut self, range: &Range<u64>) {
        self.over = range.is_empty();
        if !self.over {
            let (path, first, last) = (&self.path, range.start, range.end - 1);
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: seeder\r\nRange: bytes={first}-{last}\r\n\r\n");
            self.out.extend(request.as_bytes());
        }
    }
}

impl Conversation for Http {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn received(
        &mut self,
        torrent: &Torrent,
        mut bytes: &[u8],
        _now: Instant,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (byte, rest) = bytes.split_at(1);
                bytes = rest;
                self.head.extend_from_slice(byte);
                ensure!(self.head.len() <= MAX_HEAD_LEN, "a head of more than {MAX_HEAD_LEN} bytes");
                if self.head.ends_with(b"\r\n\r\n") {
                    self.left = body_len(&self.head)?;
                    self.head.clear();
                }
                continue;
            }
            let data = self.left.min(bytes.len() as u64);
            bytes = &bytes[data as usize..];
            self.left -= data;
            tally.data(data as usize);
            if self.left == 0 {
                self.over = !self.endless;
                if self.endless {
                    self.ask(&(0..torrent.len()));
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

fn body_len(head: &[u8]) -> anyhow::Result<u64> {
    let head = str::from_utf8(head)?.to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 20"), "the answer is {:?}", head.lines().next().unwrap_or_default());
    let len = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Ok(len.context("no Content-Length")?.trim().parse()?)
}
