//! Why an encrypted handshake fails. Owns one sentence for each way; refuses to say what to do about it beyond
//! "close".

use super::{MAX_INITIAL_LEN, MAX_MSE_KEPT_LEN, MAX_MSE_PADDING};

/// Why the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MseError {
    /// A public key is 0, 1 or P-1, with which the common secret is known to everyone, or not below P.
    #[error("the peer's public key is none that can come of a key exchange")]
    PublicKey,
    /// S begins with a zero, which isn't everybody's S. It is nobody's fault: the initiator dials again, with another
    /// secret.
    #[error("both sides' keys make a secret that some clients read otherwise")]
    LeadingZero,
    /// The first padding doesn't end: what follows it did not come in time. A peer that speaks another protocol
    /// looks like this.
    #[error(
        "{MAX_MSE_PADDING} bytes of padding after the peer's public key weren't followed by its handshake"
    )]
    NotSynchronised,
    /// VC isn't zero: the initiator has another info hash than the one chosen.
    #[error("the peer's handshake isn't encrypted for this torrent")]
    Verification,
    /// The second padding is too long.
    #[error("{len} bytes of padding are more than the {MAX_MSE_PADDING} allowed")]
    Padding {
        /// Its length.
        len: usize,
    },
    /// The initial payload is too long.
    #[error("{len} bytes before an answer are more than the {MAX_INITIAL_LEN} that are taken")]
    Initial {
        /// Its length.
        len: usize,
    },
    /// crypto_provide has nothing that we agree to.
    #[error("the peer provides no way to go on that is allowed here (crypto_provide {provided:#x})")]
    NothingInCommon {
        /// Its bits.
        provided: u32,
    },
    /// crypto_select isn't one of the ways that were provided.
    #[error("the peer selected what it wasn't offered (crypto_select {selected:#x})")]
    Selection {
        /// Its bits.
        selected: u32,
    },
    /// The initiator doesn't wait for the answer.
    #[error("the peer sent more than {MAX_MSE_KEPT_LEN} bytes before it was answered")]
    Overrun,
    /// A torrent was chosen that nobody was asked for, or bytes were given to a handshake that is over.
    #[error("the encrypted handshake was driven out of turn")]
    OutOfTurn,
}
