//! The side that was dialled.
//!
//! Owns the order of its steps. Refuses to know the torrents: it asks for the info hash of a digest.

use bytes::{Bytes, BytesMut};

use super::{
    MAX_INITIAL_LEN, MseProgress,
    digest::{self, TorrentDigest},
    drive::{Drive, Next, State},
    error::MseError,
    exchange::{MSE_SECRET_LEN, Secret, SharedSecret},
    inbox::Inbox,
    negotiation::{self, Negotiation, VERIFICATION},
    offer::{Method, MseOffer},
    stream::{MseStream, Rc4Pair},
};
use crate::id::InfoHash;

/// The handshake of the side that was dialled.
pub struct MseResponder(Drive<Step>);

impl MseResponder {
    /// `secret` and `padding` are the caller's chance; of the padding,
    /// [`MAX_MSE_PADDING`](super::MAX_MSE_PADDING) bytes are sent at most. Nothing is computed before the
    /// initiator's key is there.
    #[must_use]
    pub fn new(offer: MseOffer, secret: [u8; MSE_SECRET_LEN], padding: &[u8]) -> Self {
        let start = Step::Key { secret: Secret::new(secret), padding: negotiation::cut(padding) };
        Self(Drive::new(offer, start))
    }

    /// Takes what was received; what is to be sent is appended to `out`.
    ///
    /// # Errors
    ///
    /// When the initiator's handshake is none, or asks for what isn't offered. It stays failed then.
    pub fn receive(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<MseProgress, MseError> {
        self.0.receive(bytes, out)
    }

    /// Answers [`MseProgress::Torrent`] with the info hash that has this digest, and goes on with what has been
    /// received already.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive), and when no torrent was asked for.
    pub fn choose(&mut self, info_hash: InfoHash, out: &mut BytesMut) -> Result<MseProgress, MseError> {
        self.0.go_on(out, |step| match step {
            Step::Torrent { shared, .. } => {
                Ok(Step::Verification { pair: Rc4Pair::of_responder(&shared, &info_hash) })
            }
            _ => Err(MseError::OutOfTurn),
        })
    }
}

/// What is waited for.
enum Step {
    /// Ya.
    Key { secret: Secret, padding: Bytes },
    /// HASH('req1', S), behind PadA.
    Synchronisation { shared: SharedSecret, mark: [u8; digest::LEN] },
    /// HASH('req2', SKEY) xor HASH('req3', S).
    Digest { shared: SharedSecret },
    /// The driver's choice.
    Torrent { shared: SharedSecret, digest: TorrentDigest },
    /// VC.
    Verification { pair: Box<Rc4Pair> },
    /// crypto_provide and len(PadC).
    Provision { pair: Box<Rc4Pair> },
    /// PadC.
    Padding { pair: Box<Rc4Pair>, method: Method, len: usize },
    /// len(IA).
    InitialLen { pair: Box<Rc4Pair>, method: Method },
    /// IA.
    Initial { pair: Box<Rc4Pair>, method: Method, len: usize },
}

impl State for Step {
    fn step(self, offer: MseOffer, inbox: &mut Inbox, out: &mut BytesMut) -> Result<Next<Self>, MseError> {
        Ok(match self {
            Self::Key { secret, padding } => match inbox.take() {
                Some(key) => {
                    let (public_key, shared) = secret.answer(&key)?;
                    out.extend_from_slice(&public_key);
                    out.extend_from_slice(&padding);
                    let mark = digest::synchronisation(&shared);
                    Next::Step(Self::Synchronisation { shared, mark })
                }
                None => Next::Wait(Self::Key { secret, padding }),
            },
            Self::Synchronisation { shared, mark } => {
                if inbox.take_through(&mark)? {
                    Next::Step(Self::Digest { shared })
                } else {
                    Next::Wait(Self::Synchronisation { shared, mark })
                }
            }
            Self::Digest { shared } => match inbox.take() {
                Some(hidden) => {
                    let digest = TorrentDigest::reveal(hidden, &shared);
                    Next::Step(Self::Torrent { shared, digest })
                }
                None => Next::Wait(Self::Digest { shared }),
            },
            Self::Torrent { shared, digest } => Next::Ask(Self::Torrent { shared, digest }, digest),
            Self::Verification { mut pair } => match inbox.take() {
                Some(bytes) if pair.decrypted(bytes) == VERIFICATION => Next::Step(Self::Provision { pair }),
                Some(_) => return Err(MseError::Verification),
                None => Next::Wait(Self::Verification { pair }),
            },
            Self::Provision { mut pair } => match inbox.take() {
                Some(bytes) => {
                    let Negotiation { bits, padding } = Negotiation::read(pair.decrypted(bytes))?;
                    let method = offer.choose(bits)?;
                    Next::Step(Self::Padding { pair, method, len: padding })
                }
                None => Next::Wait(Self::Provision { pair }),
            },
            Self::Padding { mut pair, method, len } => match inbox.take_len(len) {
                Some(mut padding) => {
                    pair.decrypt(&mut padding);
                    Next::Step(Self::InitialLen { pair, method })
                }
                None => Next::Wait(Self::Padding { pair, method, len }),
            },
            Self::InitialLen { mut pair, method } => match inbox.take() {
                Some(bytes) => {
                    let len = usize::from(u16::from_be_bytes(pair.decrypted(bytes)));
                    if len > MAX_INITIAL_LEN {
                        return Err(MseError::Initial { len });
                    }
                    Next::Step(Self::Initial { pair, method, len })
                }
                None => Next::Wait(Self::InitialLen { pair, method }),
            },
            Self::Initial { mut pair, method, len } => match inbox.take_len(len) {
                Some(mut initial) => {
                    pair.decrypt(&mut initial);
                    negotiation::put(method.bit(), &[], &mut pair, out);
                    Next::done(MseStream::of(method, pair), initial, inbox)
                }
                None => Next::Wait(Self::Initial { pair, method, len }),
            },
        })
    }
}
