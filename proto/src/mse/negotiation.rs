//! ENCRYPT(VC, crypto_provide or crypto_select, len(Pad), Pad): how both sides settle on a stream.
//!
//! Owns its layout. Refuses to choose: that is the offer's.

use bytes::{BufMut, Bytes, BytesMut};

use super::{MAX_MSE_PADDING, error::MseError, stream::Rc4Pair};

/// VC: decrypts to itself only with the right keys.
pub(super) const VERIFICATION: [u8; 8] = [0; 8];

/// Bytes of a length.
pub(super) const LENGTH_LEN: usize = 2;

/// Bytes of the numbers behind VC.
pub(super) const NUMBERS_LEN: usize = 4 + LENGTH_LEN;

/// The numbers behind VC.
pub(super) struct Negotiation {
    /// crypto_provide or crypto_select.
    pub(super) bits: u32,
    /// Bytes of padding that follow, [`MAX_MSE_PADDING`] at most.
    pub(super) padding: usize,
}

impl Negotiation {
    pub(super) fn read(bytes: [u8; NUMBERS_LEN]) -> Result<Self, MseError> {
        let [b0, b1, b2, b3, len @ ..] = bytes;
        let padding = usize::from(u16::from_be_bytes(len));
        if padding > MAX_MSE_PADDING {
            return Err(MseError::Padding { len: padding });
        }
        Ok(Self { bits: u32::from_be_bytes([b0, b1, b2, b3]), padding })
    }
}

/// As much of a padding as may be sent.
pub(super) fn cut(padding: &[u8]) -> Bytes {
    Bytes::copy_from_slice(padding.get(..MAX_MSE_PADDING).unwrap_or(padding))
}

/// Appends VC, the bits and the padding with its length.
pub(super) fn put(bits: u32, padding: &[u8], pair: &mut Rc4Pair, out: &mut BytesMut) {
    let mut plain = BytesMut::new();
    plain.put_slice(&VERIFICATION);
    plain.put_u32(bits);
    put_with_len(padding, &mut plain);
    pair.put(&plain, out);
}

/// Appends the initial payload with its length.
pub(super) fn put_initial(initial: &[u8], pair: &mut Rc4Pair, out: &mut BytesMut) {
    let mut plain = BytesMut::new();
    put_with_len(initial, &mut plain);
    pair.put(&plain, out);
}

/// The callers have cut the bytes to what such a length can tell of.
fn put_with_len(bytes: &[u8], out: &mut BytesMut) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(len);
    out.extend(bytes.iter().take(usize::from(len)));
}
