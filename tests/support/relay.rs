//! A relay between clients and the origin's peer port that writes down what is said, as `proto/tests/vectors` has it.
//! Knows as much of the wire as it takes to tell messages apart and to leave out what a file holds.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::net::Host;
use super::wire::{HANDSHAKE_LEN, id};

/// Longer than any client needs for its few pieces; a conversation that isn't over by then is cut off.
const PATIENCE: Duration = Duration::from_secs(60);
/// Both sides' reads; more than any client writes at a time.
const PORTION_LEN: usize = 64 * 1024;
/// BEP 9.
const METADATA_PIECE: usize = 16 * 1024;

/// What was said on one connection.
#[derive(Default)]
pub(crate) struct Conversation {
    lines: String,
    /// What the origin has said of a message that isn't complete.
    incomplete: Vec<u8>,
    greeted: bool,
    pub(crate) blocks: usize,
    pub(crate) metadata: usize,
}

/// Relays what comes to `port` on a host while `work` goes on, and returns all conversations.
pub(crate) fn record(
    host: &Host,
    port: u16,
    origin: SocketAddr,
    info_len: usize,
    work: impl FnOnce(),
) -> Vec<Conversation> {
    let listener = host.inside(|| TcpListener::bind((host.address(), port)).expect("a host can listen"));
    listener.set_nonblocking(true).expect("a socket takes options");
    let done = AtomicBool::new(false);
    let conversations = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => {
                        scope.spawn(|| {
                            let origin = host.inside(|| TcpStream::connect(origin).expect("it accepts"));
                            let conversation = relay(client, origin, info_len);
                            lock(&conversations).push(conversation);
                        });
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) => panic!("nothing can be accepted: {error}"),
                }
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    conversations.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn relay(client: TcpStream, origin: TcpStream, info_len: usize) -> Conversation {
    for stream in [&client, &origin] {
        stream.set_nonblocking(false).expect("a socket takes options");
        stream.set_nodelay(true).expect("a socket takes options");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    }
    let conversation = Mutex::new(Conversation::default());
    thread::scope(|scope| {
        scope.spawn(|| pump(&client, &origin, |bytes| lock(&conversation).hear(bytes)));
        pump(&origin, &client, |bytes| lock(&conversation).say(bytes, info_len));
    });
    conversation.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Everything is written down before it is passed on: an answer never stands before its question.
fn pump(mut from: &TcpStream, mut to: &TcpStream, note: impl Fn(&[u8])) {
    let mut portion = vec![0; PORTION_LEN];
    while let Ok(read @ 1..) = from.read(&mut portion) {
        note(&portion[..read]);
        if to.write_all(&portion[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Conversation {
    /// The whole vector, under a comment that says what it is.
    pub(crate) fn vector(&self, comment: &str, facts: &[(&str, String)]) -> String {
        let mut text = format!("# {comment}\n");
        for (name, value) in facts {
            let _ = writeln!(text, "@ {name} {value}");
        }
        text + &self.lines
    }

    /// The client writes.
    fn hear(&mut self, bytes: &[u8]) {
        let _ = writeln!(self.lines, "> {}", hex(bytes));
    }

    /// The origin writes: a line for each message, once that is complete.
    fn say(&mut self, bytes: &[u8], info_len: usize) {
        self.incomplete.extend_from_slice(bytes);
        while let Some(len) = self.next_len().filter(|len| *len <= self.incomplete.len()) {
            let message: Vec<u8> = self.incomplete.drain(..len).collect();
            let line = self.describe(&message, info_len);
            let _ = writeln!(self.lines, "< {line}");
        }
    }

    fn next_len(&self) -> Option<usize> {
        if !self.greeted {
            return Some(HANDSHAKE_LEN);
        }
        let prefix = self.incomplete.first_chunk()?;
        Some(4 + usize::try_from(u32::from_be_bytes(*prefix)).expect("a length fits"))
    }

    fn describe(&mut self, message: &[u8], info_len: usize) -> String {
        if !self.greeted {
            self.greeted = true;
            return hex(message);
        }
        match message.get(4..) {
            Some([id::PIECE, body @ ..]) => {
                self.blocks += 1;
                let number =
                    |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
                format!("block {} {} {}", number(0), number(4), body.len() - 8)
            }
            Some([id::EXTENDED, _, body @ ..]) if body.starts_with(b"d8:msg_typei1e5:piecei") => {
                self.metadata += 1;
                let digits = body["d8:msg_typei1e5:piecei".len()..].iter().take_while(|byte| **byte != b'e');
                let piece = digits.fold(0, |piece, digit| piece * 10 + usize::from(digit - b'0'));
                let start = piece * METADATA_PIECE;
                format!("metadata {start} {}", info_len.min(start + METADATA_PIECE))
            }
            _ => hex(message),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
