//! How the stream goes on after the handshake: in the clear, or through two RC4 ciphers.
//!
//! Owns the ciphers' keys and how far they are run ahead. Refuses to buffer: bytes are changed where they are.

use std::fmt;

use bytes::BytesMut;
use rc4::{KeyInit, Rc4, StreamCipher};

use super::{digest, exchange::SharedSecret, offer::Method};
use crate::id::InfoHash;

/// How much of each key stream is thrown away, since RC4's beginning tells about its key.
const DISCARDED: usize = 1024;

/// How both directions go on after the handshake.
#[derive(Debug)]
pub enum MseStream {
    /// In the clear.
    Plain,
    /// Encrypted.
    Rc4(Box<Rc4Pair>),
}

impl MseStream {
    /// The stream of a handshake that came to this.
    pub(super) fn of(method: Method, pair: Box<Rc4Pair>) -> Self {
        match method {
            Method::Plaintext => Self::Plain,
            Method::Rc4 => Self::Rc4(pair),
        }
    }

    /// Appends bytes as they go out.
    pub(super) fn put(&mut self, bytes: &[u8], out: &mut BytesMut) {
        match self {
            Self::Plain => out.extend_from_slice(bytes),
            Self::Rc4(pair) => pair.put(bytes, out),
        }
    }

    /// Makes readable what came in.
    pub(super) fn open(&mut self, bytes: &mut [u8]) {
        if let Self::Rc4(pair) = self {
            pair.decrypt(bytes);
        }
    }
}

/// The two ciphers of an encrypted connection. Each byte must go through once and in order.
pub struct Rc4Pair {
    incoming: Rc4,
    outgoing: Rc4,
}

impl Rc4Pair {
    /// As the side that dialled has them: A's key is the one it writes with.
    pub(super) fn of_initiator(shared: &SharedSecret, info_hash: &InfoHash) -> Box<Self> {
        let cipher = |label| cipher(label, shared, info_hash);
        Box::new(Self { incoming: cipher(b"keyB"), outgoing: cipher(b"keyA") })
    }

    /// As the side that was dialled has them.
    pub(super) fn of_responder(shared: &SharedSecret, info_hash: &InfoHash) -> Box<Self> {
        let cipher = |label| cipher(label, shared, info_hash);
        Box::new(Self { incoming: cipher(b"keyA"), outgoing: cipher(b"keyB") })
    }

    /// Decrypts the next bytes of the peer's stream where they are.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        self.incoming.apply_keystream(bytes);
    }

    /// Encrypts the next bytes of our stream where they are.
    pub fn encrypt(&mut self, bytes: &mut [u8]) {
        self.outgoing.apply_keystream(bytes);
    }

    /// Decrypts as many bytes as there are into an array.
    pub(super) fn decrypted<const N: usize>(&mut self, mut bytes: [u8; N]) -> [u8; N] {
        self.decrypt(&mut bytes);
        bytes
    }

    /// Appends bytes, encrypted.
    pub(super) fn put(&mut self, bytes: &[u8], out: &mut BytesMut) {
        let start = out.len();
        out.extend_from_slice(bytes);
        self.encrypt(out.get_mut(start..).unwrap_or_default());
    }
}

impl fmt::Debug for Rc4Pair {
    /// Without the ciphers' state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rc4Pair").finish_non_exhaustive()
    }
}

/// HASH('keyA' or 'keyB', S, SKEY) as an RC4 key.
fn cipher(label: &[u8; 4], shared: &SharedSecret, info_hash: &InfoHash) -> Rc4 {
    let key = digest::hash(label, &[shared.as_bytes(), info_hash.as_bytes()]);
    let mut cipher = Rc4::new_from_slice(&key).expect("RC4 takes keys of 1 to 256 bytes");
    cipher.apply_keystream(&mut [0; DISCARDED]);
    cipher
}
