//! Whom to upload to: by which strategy, how many at a time, and what is kept free for whom.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;

use super::named::read_and_written_by_name;

/// Whom to upload to.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ChokingConfig {
    /// Who goes first.
    pub strategy: Choking,
    /// How many peers are uploaded to at a time.
    pub slots: UploadSlots,
    /// How many of the slots go by waiting time, whatever the strategy, so that nobody is left out. By default a fifth
    /// of them, and always one at least; with [`Choking::RoundRobin`] all do anyway.
    pub optimistic_slots: Option<NonZeroUsize>,
    /// How many slots each group, the peers at one [place](crate::Place), has before others may have more, while so many
    /// of its peers are interested; 0 by default.
    pub reserved_slots: usize,
}

/// Who is uploaded to first. No strategy gives a host's second connection a slot before another host's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choking {
    /// Everybody takes turns: who has waited longest goes first.
    #[default]
    RoundRobin,
    /// Those who take the most first: they pass on the most.
    Fastest,
    /// Those who have next to nothing, and those who lack little, first: the former have nothing to trade yet, the
    /// latter are soon seeds. Those in between trade among themselves.
    Newcomers,
}

impl Choking {
    const ALL: [Self; 3] = [Self::RoundRobin, Self::Fastest, Self::Newcomers];

    const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Fastest => "fastest",
            Self::Newcomers => "newcomers",
        }
    }
}

/// What was given names no strategy of choking.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no strategy of choking; write round-robin, fastest or newcomers")]
pub struct ChokingError(String);

read_and_written_by_name!(Choking, ChokingError);

/// How many peers are uploaded to at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadSlots {
    /// As many as pay. 64 at first; as many as there are 512 KiB a second for, up to 1,024, where peers wait; fewer, but
    /// four at least, where the uplink hasn't 256 KiB a second for each, so that each slot's pieces are soon whole and can
    /// be passed on; and more, up to 1,024, while peers are so slow that more of them take more. Where the upload is
    /// limited one for each 256 KiB a second, from 4 to 64.
    #[default]
    Auto,
    /// So many; the rest waits for its turn.
    Limited(NonZeroUsize),
    /// Everyone who is interested.
    Unlimited,
}

impl UploadSlots {
    /// As many as are made of themselves where nothing is known of the peers.
    pub(crate) const AUTO_MAX: usize = 64;
    pub(crate) const AUTO_MIN: usize = 4;
    /// Bytes a second: at less, a piece takes too long until it can be passed on.
    pub(crate) const AUTO_RATE: u64 = 256 * 1024;

    /// How many there are where all upload is limited to so many bytes a second.
    pub(crate) fn count(self, rate: Option<NonZeroU64>) -> usize {
        match (self, rate) {
            (Self::Limited(slots), _) => slots.get(),
            (Self::Unlimited, _) => usize::MAX,
            (Self::Auto, None) => Self::AUTO_MAX,
            (Self::Auto, Some(rate)) => usize::try_from(rate.get() / Self::AUTO_RATE)
                .unwrap_or(usize::MAX)
                .clamp(Self::AUTO_MIN, Self::AUTO_MAX),
        }
    }
}

/// What was given is no number of upload slots.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a number of slots; write a number from 1 up, \"auto\" or \"unlimited\"")]
pub struct UploadSlotsError(String);

impl FromStr for UploadSlots {
    type Err = UploadSlotsError;

    fn from_str(text: &str) -> Result<Self, UploadSlotsError> {
        match text {
            "auto" => Ok(Self::Auto),
            "unlimited" => Ok(Self::Unlimited),
            _ => text.parse().map(Self::Limited).map_err(|_| UploadSlotsError(text.to_owned())),
        }
    }
}

impl fmt::Display for UploadSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Limited(slots) => slots.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_of_strategies() {
        for strategy in Choking::ALL {
            assert_eq!(strategy.to_string().parse::<Choking>().unwrap(), strategy);
        }
        assert!("tit-for-tat".parse::<Choking>().is_err());
    }

    #[test]
    fn counts_upload_slots_from_one() {
        for text in ["1", "auto", "unlimited"] {
            assert_eq!(text.parse::<UploadSlots>().unwrap().to_string(), text);
        }
        assert_eq!("1".parse::<UploadSlots>().unwrap().count(None), 1);
        assert!("0".parse::<UploadSlots>().is_err());
        assert!("many".parse::<UploadSlots>().is_err());
    }

    #[test]
    fn makes_as_many_slots_as_a_rate_is_enough_for() {
        let slots = |rate| UploadSlots::Auto.count(NonZeroU64::new(rate));
        assert_eq!([0, 1, 10 * 256 * 1024, 1 << 40].map(slots), [64, 4, 10, 64]);
    }
}
