//! Whether peers are told at once that the origin has everything.

use super::named::read_and_written_by_name;

/// Whether pieces are shown one by one, each to one peer first, so that what the origin sends is passed on rather than sent
/// again (super-seeding).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuperSeeding {
    /// Everybody sees everything, and takes what it likes.
    Off,
    /// Always.
    On,
    /// Where several hosts download the same file, or its hosts are at places that the operator has named. A host that is
    /// alone sees everything, and so does everybody where there is little to share out.
    #[default]
    Auto,
}

impl SuperSeeding {
    pub(super) const ALL: [Self; 3] = [Self::Off, Self::On, Self::Auto];

    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Auto => "auto",
        }
    }
}

/// What was given doesn't say whether pieces are shown one by one.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} doesn't say whether to super-seed; write off, on or auto")]
pub struct SuperSeedingError(String);

read_and_written_by_name!(SuperSeeding, SuperSeedingError);
