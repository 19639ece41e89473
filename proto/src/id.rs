//! The two 20-byte names of the protocol as distinct types, so that one can't be passed for the other.
//!
//! Owns their parsing and printing. Refuses to make random bytes: chance is the caller's.

use std::{fmt, str::FromStr};

use sha1::{Digest, Sha1};

/// Why something isn't an [`InfoHash`] or a [`PeerId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 20 bytes long.
    #[error("{len} bytes where 20 were expected")]
    Length {
        /// How many bytes there were.
        len: usize,
    },
    /// Text that isn't 40 hexadecimal digits.
    #[error("an info hash is written as 40 hexadecimal digits")]
    Hex,
}

/// The SHA-1 of a torrent's bencoded info dictionary: the torrent's name on the wire (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InfoHash([u8; Self::LEN]);

impl InfoHash {
    /// Bytes in an info hash.
    pub const LEN: usize = 20;

    /// Takes the 20 bytes as they came.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 20 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The info hash of a bencoded info dictionary, taken byte for byte as it stands in the metainfo file
    /// (BEP 3).
    #[must_use]
    pub fn of_info(info: &[u8]) -> Self {
        Self(Sha1::digest(info).into())
    }
}

impl TryFrom<&[u8]> for InfoHash {
    type Error = IdError;

    fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
        twenty(bytes).map(Self)
    }
}

impl FromStr for InfoHash {
    type Err = IdError;

    /// Reads 40 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (digits, []) = text.as_bytes().as_chunks::<2>() else { return Err(IdError::Hex) };
        if digits.len() != Self::LEN {
            return Err(IdError::Hex);
        }
        let mut bytes = [0; Self::LEN];
        for (byte, &[high, low]) in bytes.iter_mut().zip(digits) {
            *byte = hex_byte(high, low).ok_or(IdError::Hex)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a client calls itself: 20 bytes, by custom with the client's name in front (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId([u8; Self::LEN]);

impl PeerId {
    /// Bytes in a peer id.
    pub const LEN: usize = 20;

    /// Takes the 20 bytes as they came.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 20 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// An id in Azureus' style, `-CCVVVV-` and twelve bytes of the caller's chance (BEP 20).
    #[must_use]
    pub const fn azureus(client: [u8; 2], version: [u8; 4], random: [u8; 12]) -> Self {
        let ([c0, c1], [v0, v1, v2, v3]) = (client, version);
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11] = random;
        Self([b'-', c0, c1, v0, v1, v2, v3, b'-', r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11])
    }
}

impl TryFrom<&[u8]> for PeerId {
    type Error = IdError;

    fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
        twenty(bytes).map(Self)
    }
}

impl fmt::Display for PeerId {
    /// Printable ASCII as it is, every other byte (and the backslash, which would be ambiguous) as `\xNN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.iter().try_for_each(|&byte| match byte {
            b'\\' => f.write_str("\\x5c"),
            b' '..=b'~' => f.write_char(char::from(byte)),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn twenty(bytes: &[u8]) -> Result<[u8; 20], IdError> {
    bytes.try_into().map_err(|_| IdError::Length { len: bytes.len() })
}

/// The byte that two hexadecimal digits of either case write.
pub(crate) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_an_info_dictionary_with_sha1() {
        // The SHA-1 of "abc", FIPS 180-1 appendix A.
        assert_eq!(InfoHash::of_info(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn reads_back_the_hex_it_prints() {
        let hash = InfoHash::of_info(b"de");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
    }

    #[test]
    fn refuses_text_that_is_not_forty_hex_digits() {
        for text in
            ["", "a9", &"g".repeat(40), &"a".repeat(39), &"a".repeat(41), &"a".repeat(42), &"é".repeat(20)]
        {
            assert_eq!(text.parse::<InfoHash>(), Err(IdError::Hex), "{text:?}");
        }
    }

    #[test]
    fn refuses_ids_of_other_lengths() {
        for len in [0, 19, 21] {
            assert_eq!(InfoHash::try_from(&vec![0; len][..]), Err(IdError::Length { len }));
            assert_eq!(PeerId::try_from(&vec![0; len][..]), Err(IdError::Length { len }));
        }
    }

    #[test]
    fn writes_peer_ids_readably() {
        let id = PeerId::azureus(*b"DT", *b"0100", *b"ab\\d\0\xff~ 1234");
        assert_eq!(id.to_string(), "-DT0100-ab\\x5cd\\x00\\xff~ 1234");
        assert_eq!(PeerId::try_from(&id.as_bytes()[..]), Ok(id));
    }
}
