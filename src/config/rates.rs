//! How fast to upload: in all, to each group, to each peer.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use bytesize::ByteSize;

/// How fast to upload. Each holds by itself, and of what they leave all connections have the same share.
///
/// What counts is what is written on a connection's socket from its first block on: blocks, their headers and all other
/// messages. Messages are never held back; blocks are, for them as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadRates {
    /// To all peers together.
    pub total: UploadRate,
    /// To the peers of each group: those at one [place](crate::Place).
    pub per_group: UploadRate,
    /// To each host, an IPv4 address or a /64 of IPv6: its connections share it, whatever peer ids they give, or a peer
    /// would have as many times the rate as it makes connections. Hosts behind one translated address share it, too.
    pub per_peer: UploadRate,
}

/// So many bytes a second at most, or as many as there can be, which is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadRate(Option<NonZeroU64>);

impl UploadRate {
    /// As fast as can be.
    pub const UNLIMITED: Self = Self(None);

    /// So many bytes a second; 0 is unlimited.
    pub const fn new(bytes_per_second: u64) -> Self {
        Self(NonZeroU64::new(bytes_per_second))
    }

    /// Bytes a second, where there is a limit.
    pub const fn bytes_per_second(self) -> Option<NonZeroU64> {
        self.0
    }
}

/// What was given is no rate.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no rate; write bytes a second such as 500k, 10M (a million each) or 8MiB, or \"unlimited\""
)]
pub struct UploadRateError(String);

impl FromStr for UploadRate {
    type Err = UploadRateError;

    fn from_str(text: &str) -> Result<Self, UploadRateError> {
        match text {
            "unlimited" | "none" => Ok(Self::UNLIMITED),
            _ => match text.parse::<ByteSize>() {
                // Less than a byte a second is a slip, and must not mean no limit.
                Ok(ByteSize(0)) if text.contains(|c: char| c.is_ascii_digit() && c != '0') => {
                    Err(UploadRateError(text.to_owned()))
                }
                Ok(ByteSize(bytes)) => Ok(Self::new(bytes)),
                Err(_) => Err(UploadRateError(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for UploadRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => rate.fmt(f),
            None => f.write_str("unlimited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rates_as_users_type_them() {
        let parse = |text: &str| text.parse::<UploadRate>().ok();
        for (text, bytes) in [
            ("1", 1),
            ("500k", 500_000),
            ("10M", 10_000_000),
            ("10MB", 10_000_000),
            ("1.5G", 1_500_000_000),
            ("64Ki", 65_536),
            ("8MiB", 8 << 20),
            ("0", 0),
            ("0k", 0),
            ("none", 0),
            ("unlimited", 0),
        ] {
            assert_eq!(parse(text), Some(UploadRate::new(bytes)), "{text}");
        }
        for wrong in ["", "fast", "-1", "10 apples", "10Mbit", "0.4", "1..5M", "M"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        for rate in [UploadRate::UNLIMITED, UploadRate::new(7)] {
            assert_eq!(parse(&rate.to_string()), Some(rate));
        }
    }
}
