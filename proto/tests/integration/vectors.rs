//! Recorded conversations, given to a session again: each file in `tests/vectors`.
//!
//! A file has `# comments`, first some facts (`@ info_hash HEX`, `@ total_len N`, `@ metadata_len N`, `@ peer IP`, and
//! `@ dialled` where we were the side that dialled), then `> HEX` for what the client wrote, in the portions in which
//! it was read, and `< HEX`, `< block INDEX BEGIN LEN` and `< metadata START END` for what we said. What we said has
//! to be the beginning of what we say now, in the same order; keep-alives don't count, being time's.
//!
//! `tests/recorder.rs` writes those of stock clients, each in the clear and accepted.

use std::{
    fs,
    net::IpAddr,
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use distributor_proto::{
    Event, ExtendedHandshake, Extensions, Geometry, HANDSHAKE_LEN, Handshake, InfoHash, Input, Message,
    PieceIndex, Seeding, Session, SessionConfig, SessionError,
};

use crate::support::{Driver, OUR_ID};

/// What we say, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// The handshake, or a message with its length prefix.
    Bytes(Vec<u8>),
    Block {
        index: u32,
        begin: u32,
        len: u32,
    },
    Metadata(Range<u32>),
}

#[derive(Debug)]
struct Vector {
    name: String,
    info_hash: InfoHash,
    seeding: Seeding,
    peer: IpAddr,
    dialled: bool,
    /// What the client wrote.
    portions: Vec<Vec<u8>>,
    /// What we said.
    said: Vec<Said>,
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    assert_eq!(digits.len() * 2, text.len(), "{text}");
    digits.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn numbers<const N: usize>(words: &str) -> [u32; N] {
    let numbers: Vec<u32> = words.split(' ').map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

impl Vector {
    fn parse(name: String, text: &str) -> Self {
        let (mut info_hash, mut total_len, mut metadata_len, mut peer) = (None, None, None, None);
        let (mut dialled, mut portions, mut said, mut ours) = (false, Vec::new(), Vec::new(), Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (mark, rest) = line.split_at(2);
            match (mark, rest.split_once(' ')) {
                ("@ ", Some(("info_hash", hash))) => info_hash = Some(hash.parse().unwrap()),
                ("@ ", Some(("total_len", len))) => total_len = Some(len.parse().unwrap()),
                ("@ ", Some(("metadata_len", len))) => metadata_len = Some(len.parse().unwrap()),
                ("@ ", Some(("peer", ip))) => peer = Some(ip.parse().unwrap()),
                ("@ ", None) if rest == "dialled" => dialled = true,
                ("> ", None) => portions.push(unhex(rest)),
                ("< ", Some(("block", words))) => {
                    let [index, begin, len] = numbers(words);
                    said.append(&mut parts(&mut ours, said.is_empty()));
                    said.push(Said::Block { index, begin, len });
                }
                ("< ", Some(("metadata", words))) => {
                    let [start, end] = numbers(words);
                    said.append(&mut parts(&mut ours, said.is_empty()));
                    said.push(Said::Metadata(start..end));
                }
                ("< ", None) => ours.append(&mut unhex(rest)),
                _ => panic!("{name}: {line}"),
            }
        }
        said.append(&mut parts(&mut ours, said.is_empty()));
        assert!(!portions.is_empty() && !said.is_empty(), "{name} is no conversation");
        let geometry = Geometry::for_len(total_len.unwrap()).unwrap();
        Self {
            name,
            info_hash: info_hash.unwrap(),
            seeding: Seeding { geometry, metadata_len: metadata_len.unwrap(), begins_empty: false },
            peer: peer.unwrap(),
            dialled,
            portions,
            said,
        }
    }

    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
        let mut vectors: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                Self::parse(name, &fs::read_to_string(&path).unwrap())
            })
            .collect();
        vectors.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(!vectors.is_empty(), "{} holds no vectors", folder.display());
        vectors
    }

    /// Settings under which we are called what we were called then.
    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new(OUR_ID);
        for said in &self.said {
            let Said::Bytes(bytes) = said else { continue };
            if let Ok(handshake) = Handshake::decode(bytes) {
                config.our_id = handshake.peer_id;
            } else if let Ok(Message::Extended { id: 0, payload }) =
                Message::decode(&bytes[4..], Extensions::ALL)
            {
                let ours = ExtendedHandshake::decode(payload).unwrap();
                let client = String::from_utf8(ours.client.unwrap_or_default().to_vec()).unwrap();
                // A few bytes a vector, for the length of a test.
                config.client = client.leak();
                config.listen_port = ours.port;
                config.max_queued_requests = ours.reqq.unwrap() as usize;
            }
        }
        config
    }

    /// The pieces that were suggested then: the driver's choice, not the session's, and made at an unchoke.
    fn suggestions(&self) -> impl Iterator<Item = PieceIndex> {
        self.said.iter().filter_map(|said| match said {
            Said::Bytes(bytes) => match Message::decode(&bytes[4..], Extensions::ALL) {
                Ok(Message::Suggest { index }) => self.seeding.geometry.piece(index),
                _ => None,
            },
            _ => None,
        })
    }

    fn driver(&self) -> Driver {
        let now = Instant::now();
        let session = if self.dialled {
            Session::connect(now, self.config(), self.peer, self.info_hash, self.seeding)
        } else {
            Session::accept(now, self.config(), self.peer)
        };
        Driver::of(session, now)
    }

    /// Gives a portion to the session and does what a driver would: seeds the torrent, and unchokes who is
    /// interested.
    fn give(&self, driver: &mut Driver, portion: &[u8]) -> Result<(), SessionError> {
        driver.now += Duration::from_millis(1);
        driver.receive(portion)?;
        loop {
            let events = std::mem::take(&mut driver.events);
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                match event {
                    Event::InfoHash(info_hash) => {
                        assert_eq!(info_hash, self.info_hash);
                        driver.input(Input::Accept { seeding: self.seeding })?;
                    }
                    Event::Interested => {
                        driver.input(Input::Unchoke)?;
                        for piece in self.suggestions() {
                            driver.input(Input::Suggest(piece))?;
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn stream(&self) -> Vec<u8> {
        self.portions.concat()
    }

    /// Where in the client's stream its messages begin.
    fn message_starts(&self) -> Vec<usize> {
        let stream = self.stream();
        let mut starts = vec![HANDSHAKE_LEN];
        while let Some(prefix) = stream.get(starts[starts.len() - 1]..).and_then(<[u8]>::first_chunk) {
            starts.push(starts[starts.len() - 1] + 4 + u32::from_be_bytes(*prefix) as usize);
        }
        starts.pop();
        starts
    }
}

/// Our bytes as the handshake, if it is still to come, and messages, without keep-alives.
fn parts(bytes: &mut Vec<u8>, opening: bool) -> Vec<Said> {
    let bytes = std::mem::take(bytes);
    let (mut parts, mut rest) = (Vec::new(), &bytes[..]);
    if opening && !rest.is_empty() {
        let (handshake, messages) = rest.split_at(HANDSHAKE_LEN);
        parts.push(Said::Bytes(handshake.to_vec()));
        rest = messages;
    }
    while let Some(prefix) = rest.first_chunk() {
        let (message, after) = rest.split_at(4 + u32::from_be_bytes(*prefix) as usize);
        if message.len() > 4 {
            parts.push(Said::Bytes(message.to_vec()));
        }
        rest = after;
    }
    assert!(rest.is_empty());
    parts
}

/// What the session has said since it was last asked. The driver keeps three lists; between two portions the order is
/// the session's own: messages, metadata, blocks.
fn said(driver: &mut Driver, opening: bool) -> Vec<Said> {
    let mut said = parts(&mut driver.bytes, opening);
    said.extend(driver.metadata.drain(..).map(|(_, range)| Said::Metadata(range)));
    said.extend(driver.blocks.drain(..).map(|block| Said::Block {
        index: block.piece().get(),
        begin: block.begin(),
        len: block.len(),
    }));
    said
}

#[test]
fn says_what_it_said_when_they_were_recorded() {
    for vector in Vector::all() {
        let mut driver = vector.driver();
        let mut all = said(&mut driver, true);
        for (number, portion) in vector.portions.iter().enumerate() {
            vector
                .give(&mut driver, portion)
                .unwrap_or_else(|error| panic!("{}, portion {number}: {error}", vector.name));
            let opening = all.is_empty();
            all.append(&mut said(&mut driver, opening));
        }
        for (number, expected) in vector.said.iter().enumerate() {
            assert_eq!(all.get(number), Some(expected), "{}, what we said as number {number}", vector.name);
        }
    }
}

/// Byte by byte, so that every truncation is there: none is an error.
#[test]
fn waits_for_more_at_every_truncation() {
    for vector in Vector::all() {
        let mut driver = vector.driver();
        for (at, byte) in vector.stream().iter().enumerate() {
            vector
                .give(&mut driver, &[*byte])
                .unwrap_or_else(|error| panic!("{} cut at {at}: {error}", vector.name));
        }
    }
}

/// How many messages of a vector have their length changed: those at its beginning, where no two are alike.
const CHANGED_MESSAGES: usize = 200;

#[test]
fn survives_every_change_of_a_length() {
    for vector in Vector::all() {
        let stream = vector.stream();
        for start in vector.message_starts().into_iter().take(CHANGED_MESSAGES) {
            for (place, change) in
                (start..start + 4).flat_map(|place| [1, 0x80, 0xff].map(|bit| (place, bit)))
            {
                let mut changed = stream.clone();
                changed[place] ^= change;
                let mut driver = vector.driver();
                // Whether it is an error or a message that goes on for longer: it comes to rest.
                let result = vector.give(&mut driver, &changed);
                assert!(result.is_ok() || !driver.session.wants_input());
                assert!(driver.session.queued_requests() <= vector.config().max_queued_requests);
            }
        }
    }
}
