//! Which of the two streams a side agrees to, and what comes of two sides' wishes.
//!
//! Owns the bits of crypto_provide and crypto_select. Refuses to encrypt: it answers over plain values.

use super::error::MseError;

/// One way to go on after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Plaintext,
    Rc4,
}

impl Method {
    pub(super) const fn bit(self) -> u32 {
        match self {
            Self::Plaintext => 0x01,
            Self::Rc4 => 0x02,
        }
    }
}

/// Which streams we agree to after the handshake, and which of them we would rather have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MseOffer {
    preferred: Method,
    other: Option<Method>,
}

impl MseOffer {
    /// The handshake hides which torrent is asked for, the rest goes in the clear.
    pub const PLAINTEXT_ONLY: Self = Self { preferred: Method::Plaintext, other: None };
    /// Everything is encrypted.
    pub const RC4_ONLY: Self = Self { preferred: Method::Rc4, other: None };
    /// Either, and a responder that may choose spares both sides the work.
    pub const PLAINTEXT_OR_RC4: Self = Self { preferred: Method::Plaintext, other: Some(Method::Rc4) };
    /// Either, and a responder that may choose encrypts.
    pub const RC4_OR_PLAINTEXT: Self = Self { preferred: Method::Rc4, other: Some(Method::Plaintext) };

    /// As crypto_provide.
    pub(super) fn bits(self) -> u32 {
        self.methods().map(Method::bit).fold(0, |bits, bit| bits | bit)
    }

    /// What a responder with this offer selects. Bits that mean nothing (yet) don't count.
    pub(super) fn choose(self, provided: u32) -> Result<Method, MseError> {
        let mut methods = self.methods();
        methods.find(|method| provided & method.bit() != 0).ok_or(MseError::NothingInCommon { provided })
    }

    /// What an initiator with this offer goes on with: exactly one of the ways that it offered.
    pub(super) fn accept(self, selected: u32) -> Result<Method, MseError> {
        let mut methods = self.methods();
        methods.find(|method| selected == method.bit()).ok_or(MseError::Selection { selected })
    }

    fn methods(self) -> impl Iterator<Item = Method> {
        std::iter::once(self.preferred).chain(self.other)
    }
}
