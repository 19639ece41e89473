//! How packets are marked, for networks that tell bulk traffic from the rest by it.

use std::fmt;
use std::str::FromStr;

/// A differentiated services codepoint (RFC 2474): a number from 0 to 63, many of which have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dscp(u8);

/// RFC 2474 (cs), 2597 (af), 3246 (ef), 5865 (va), 8622 (le).
const NAMES: [(&str, u8); 23] = [
    ("cs0", 0),
    ("le", 1),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("va", 44),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];
const MAX: u8 = 63;

impl Dscp {
    /// The codepoint of a number; there is none beyond 63.
    pub const fn new(codepoint: u8) -> Option<Self> {
        if codepoint <= MAX { Some(Self(codepoint)) } else { None }
    }

    /// As it stands in the second byte of a packet's header: above the two bits of ECN, which TCP sees to.
    pub(crate) const fn traffic_class(self) -> u8 {
        self.0 << 2
    }
}

/// What was given names no codepoint.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no DSCP; write a number from 0 to 63, or a name such as le, cs1, af11 or ef")]
pub struct DscpError(String);

impl FromStr for Dscp {
    type Err = DscpError;

    fn from_str(text: &str) -> Result<Self, DscpError> {
        let named = || NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, code)| *code);
        text.parse().ok().or_else(named).and_then(Self::new).ok_or_else(|| DscpError(text.to_owned()))
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_names() {
        let class = |text: &str| text.parse::<Dscp>().ok().map(Dscp::traffic_class);
        assert_eq!(class("0"), Some(0));
        assert_eq!(class("63"), Some(0xfc));
        assert_eq!(class("le"), Some(0x04));
        assert_eq!(class("CS1"), Some(0x20));
        assert_eq!(class("af11"), Some(0x28));
        assert_eq!(class("ef"), Some(0xb8));
        for wrong in ["", "64", "-1", "256", "af14", "fast"] {
            assert_eq!(class(wrong), None, "{wrong:?}");
        }
    }
}
