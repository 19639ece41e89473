//! What hostile peers send, as tables: each row is an attack, what goes before it, and what must come of it. The tables
//! are tried one by one in `tables`, and all together in `storm` and in `benches/under_attack.rs`.

mod encryption;
mod extended;
mod messages;
pub(crate) mod opening;
mod requests;
pub(crate) mod storm;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::support::files::PIECE;
use crate::support::mse;
use crate::support::wire::{FAST_AND_EXTENDED, PEER_ID, Peer, handshake_of, id};

/// How many pieces the file of the attacked torrent has.
pub(crate) const PIECES: u32 = 3;
/// How long that file is: the last piece is a short one.
pub(crate) const LEN: usize = 2 * PIECE + 1000;

/// Something that a hostile peer does.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) after: After,
    pub(crate) sends: Sends,
    pub(crate) end: End,
}

/// What it says.
#[derive(Clone)]
pub(crate) enum Sends {
    Bytes(Vec<u8>),
    /// What follows the exchange of keys, and depends on it.
    Offer(mse::Offer),
}

impl From<mse::Offer> for Sends {
    fn from(offer: mse::Offer) -> Self {
        Self::Offer(offer)
    }
}

impl<T: AsRef<[u8]>> From<T> for Sends {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.as_ref().to_vec())
    }
}

/// What a peer says before it attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Connecting,
    /// A public key, and the seeder has answered with its own.
    KeyExchange,
    /// A handshake of BEP 3.
    Handshake,
    /// One that has BEP 6 and 10 too.
    FastHandshake,
    /// The same two, then that it is interested; and the seeder unchokes it.
    Unchoke,
    FastUnchoke,
    /// A handshake inside of RC4, without extensions.
    Encryption,
}

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The seeder hangs up, with these words in its log, and holds it against the address.
    Violation(&'static str),
    /// The seeder hangs up, with these words in its log, and that is all.
    Closed(&'static str),
    /// The connection goes on, after so many answers; a peer with BEP 6 gets so many rejects.
    GoesOn { blocks: usize, rejects: usize },
    /// The connection goes on after just this extended message.
    Says(&'static [u8]),
}

/// Nothing comes of it.
const IGNORED: End = End::GoesOn { blocks: 0, rejects: 0 };

/// What is attacked.
#[derive(Clone, Copy)]
pub(crate) struct Victim {
    pub(crate) peers: SocketAddr,
    pub(crate) info_hash: [u8; 20],
}

impl Victim {
    /// Every attack that is nothing but bytes.
    pub(crate) fn attacks(&self) -> Vec<Attack> {
        [self.immediate(), self.slow()].into_iter().flatten().collect()
    }

    /// Those whose end comes at once.
    pub(crate) fn immediate(&self) -> Vec<Attack> {
        let tables = [
            opening::immediate(),
            messages::attacks(),
            requests::attacks(),
            extended::attacks(),
            encryption::immediate(self.info_hash),
        ];
        tables.into_iter().flatten().collect()
    }

    /// Those that are ended by a timeout.
    pub(crate) fn slow(&self) -> Vec<Attack> {
        let tables = [opening::slow(self.info_hash), messages::slow(), encryption::slow(self.info_hash)];
        tables.into_iter().flatten().collect()
    }

    /// A connection on which everything was said that goes before an attack.
    pub(crate) fn approach(&self, after: After, from: IpAddr, patience: Duration) -> io::Result<Approached> {
        let mut peer = Peer::try_connect_from(from, self.peers)?;
        peer.set_patience(patience);
        let stream = peer.stream();
        let mut link = Link::Clear;
        match after {
            After::Connecting => {}
            After::KeyExchange => link = Link::Keys(mse::exchange_keys(stream)?),
            After::Handshake | After::Unchoke => {
                stream.write_all(&handshake_of([0; 8], self.info_hash, PEER_ID))?;
                skip_to(stream, 68, id::BITFIELD)?;
            }
            After::FastHandshake | After::FastUnchoke => {
                stream.write_all(&handshake_of(FAST_AND_EXTENDED, self.info_hash, PEER_ID))?;
                skip_to(stream, 68, id::EXTENDED)?;
            }
            After::Encryption => {
                let hello = handshake_of([0; 8], self.info_hash, PEER_ID);
                link = Link::Encrypted(mse::dial(stream, self.info_hash, &hello)?);
            }
        }
        if matches!(after, After::Unchoke | After::FastUnchoke) {
            stream.write_all(&[0, 0, 0, 1, id::INTERESTED])?;
            skip_to(stream, 0, id::UNCHOKE)?;
        }
        Ok(Approached { peer, link })
    }
}

/// A connection, and how it is encrypted.
pub(crate) struct Approached {
    pub(crate) peer: Peer,
    link: Link,
}

enum Link {
    Clear,
    /// The common secret is there, and nothing else.
    Keys([u8; mse::KEY_LEN]),
    Encrypted(mse::Cipher),
}

impl Approached {
    /// Sends it; the seeder may hang up while it is on its way.
    pub(crate) fn send(&mut self, sends: &Sends) -> io::Result<()> {
        let bytes = match (sends, &mut self.link) {
            (Sends::Bytes(bytes), Link::Encrypted(cipher)) => {
                let mut bytes = bytes.clone();
                cipher.apply(&mut bytes);
                bytes
            }
            (Sends::Bytes(bytes), _) => return self.peer.stream().write_all(bytes),
            (Sends::Offer(offer), Link::Keys(secret)) => offer.encode(secret).0,
            (Sends::Offer(_), _) => panic!("an offer follows an exchange of keys"),
        };
        self.peer.stream().write_all(&bytes)
    }
}

/// Reads so many bytes, and messages up to the first with this id.
fn skip_to(stream: &mut impl Read, len: usize, id: u8) -> io::Result<()> {
    let mut skip = |len: usize| {
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    skip(len)?;
    loop {
        let prefix = skip(4)?;
        let len = prefix.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        if skip(len)?.first() == Some(&id) {
            return Ok(());
        }
    }
}

fn row(name: &'static str, after: After, sends: impl Into<Sends>, end: End) -> Attack {
    Attack { name, after, sends: sends.into(), end }
}
