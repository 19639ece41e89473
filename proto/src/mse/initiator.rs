//! The side that dials.
//!
//! Owns the order of its steps. Refuses to say what the initial payload is.

use bytes::{Bytes, BytesMut};

use super::{
    MAX_INITIAL_LEN, MseProgress,
    digest::{self, TorrentDigest},
    drive::{Drive, Next, State},
    error::MseError,
    exchange::{MSE_SECRET_LEN, Secret},
    inbox::Inbox,
    negotiation::{self, Negotiation, VERIFICATION},
    offer::{Method, MseOffer},
    stream::{MseStream, Rc4Pair},
};
use crate::id::InfoHash;

/// The handshake of the side that dials.
pub struct MseInitiator(Drive<Step>);

impl MseInitiator {
    /// Appends the first bytes to `out`. `secret` and the paddings are the caller's chance; of each padding,
    /// [`MAX_MSE_PADDING`](super::MAX_MSE_PADDING) bytes are sent at most.
    ///
    /// `initial` is the beginning of our stream, BitTorrent's handshake: it goes along as far as
    /// [`MAX_INITIAL_LEN`] allows, so that it needn't wait for an answer, and the rest follows that.
    #[must_use]
    pub fn new(
        info_hash: InfoHash,
        offer: MseOffer,
        secret: [u8; MSE_SECRET_LEN],
        padding_a: &[u8],
        padding_c: &[u8],
        initial: &[u8],
        out: &mut BytesMut,
    ) -> Self {
        let secret = Secret::new(secret);
        out.extend_from_slice(&secret.public_key());
        out.extend_from_slice(&negotiation::cut(padding_a));
        let initial = Bytes::copy_from_slice(initial);
        Self(Drive::new(
            offer,
            Step::Key { secret, info_hash, padding: negotiation::cut(padding_c), initial },
        ))
    }

    /// Takes what was received; what is to be sent is appended to `out`.
    ///
    /// # Errors
    ///
    /// When the responder's handshake is none, or selects what wasn't offered; and once in 256 times by chance
    /// ([`MseError::LeadingZero`]). It stays failed then.
    pub fn receive(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<MseProgress, MseError> {
        self.0.receive(bytes, out)
    }
}

/// What is waited for, and what of our stream is to be sent after it.
enum Step {
    /// Yb.
    Key { secret: Secret, info_hash: InfoHash, padding: Bytes, initial: Bytes },
    /// ENCRYPT(VC), behind PadB.
    Verification { pair: Box<Rc4Pair>, encrypted: [u8; VERIFICATION.len()], initial: Bytes },
    /// crypto_select and len(PadD).
    Selection { pair: Box<Rc4Pair>, initial: Bytes },
    /// PadD.
    Padding { pair: Box<Rc4Pair>, method: Method, len: usize, initial: Bytes },
}

impl State for Step {
    fn step(self, offer: MseOffer, inbox: &mut Inbox, out: &mut BytesMut) -> Result<Next<Self>, MseError> {
        Ok(match self {
            Self::Key { secret, info_hash, padding, mut initial } => match inbox.take() {
                Some(key) => {
                    let shared = secret.agree(&key)?;
                    if shared.begins_with_zero() {
                        return Err(MseError::LeadingZero);
                    }
                    let mut pair = Rc4Pair::of_initiator(&shared, &info_hash);
                    out.extend_from_slice(&digest::synchronisation(&shared));
                    out.extend_from_slice(&TorrentDigest::of(&info_hash).hide(&shared));
                    negotiation::put(offer.bits(), &padding, &mut pair, out);
                    let along = initial.split_to(initial.len().min(MAX_INITIAL_LEN));
                    negotiation::put_initial(&along, &mut pair, out);
                    let encrypted = pair.decrypted(VERIFICATION);
                    Next::Step(Self::Verification { pair, encrypted, initial })
                }
                None => Next::Wait(Self::Key { secret, info_hash, padding, initial }),
            },
            Self::Verification { pair, encrypted, initial } => {
                if inbox.take_through(&encrypted)? {
                    Next::Step(Self::Selection { pair, initial })
                } else {
                    Next::Wait(Self::Verification { pair, encrypted, initial })
                }
            }
            Self::Selection { mut pair, initial } => match inbox.take() {
                Some(bytes) => {
                    let Negotiation { bits, padding } = Negotiation::read(pair.decrypted(bytes))?;
                    let method = offer.accept(bits)?;
                    Next::Step(Self::Padding { pair, method, len: padding, initial })
                }
                None => Next::Wait(Self::Selection { pair, initial }),
            },
            Self::Padding { mut pair, method, len, initial } => match inbox.take_len(len) {
                Some(mut padding) => {
                    pair.decrypt(&mut padding);
                    let mut stream = MseStream::of(method, pair);
                    stream.put(&initial, out);
                    Next::done(stream, BytesMut::new(), inbox)
                }
                None => Next::Wait(Self::Padding { pair, method, len, initial }),
            },
        })
    }
}
