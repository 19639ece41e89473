//! How places are written: their levels from the widest to the nearest, such as `dc1/row3/rack7`.

use std::str::FromStr;

/// How many levels a place may have: more than anybody has given names to, and few enough to be climbed for each peer.
pub const MAX_LEVELS: usize = 8;
/// How many bytes the name of a level may have.
pub const MAX_LEVEL_LEN: usize = 64;

/// The name of a place: from one to [`MAX_LEVELS`] levels with a slash between them. A level has letters, digits, `-`,
/// `_` and `.`, and no more than [`MAX_LEVEL_LEN`] bytes of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlaceName(String);

impl PlaceName {
    /// Its levels, the widest first.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// What was given names no place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceNameError {
    /// There is nothing before, after or between slashes.
    #[error("{0:?} has an empty level; write something like dc1/row3/rack7")]
    EmptyLevel(String),
    /// It has more levels than are kept.
    #[error("{0:?} has more than {MAX_LEVELS} levels; leave some out")]
    TooManyLevels(String),
    /// A level is longer than is kept.
    #[error("the level {0:?} has more than {MAX_LEVEL_LEN} bytes; shorten it")]
    LevelTooLong(String),
    /// A level has something else than letters, digits, `-`, `_` and `.`.
    #[error("{1:?} can't be in the name of a place ({0:?}); write letters, digits, '-', '_' and '.'")]
    Character(String, char),
}

impl FromStr for PlaceName {
    type Err = PlaceNameError;

    fn from_str(text: &str) -> Result<Self, PlaceNameError> {
        let is_taken = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if let Some(wrong) = text.chars().find(|c| !is_taken(*c)) {
            return Err(PlaceNameError::Character(text.to_owned(), wrong));
        }
        if text.split('/').any(str::is_empty) {
            return Err(PlaceNameError::EmptyLevel(text.to_owned()));
        }
        if let Some(level) = text.split('/').find(|level| level.len() > MAX_LEVEL_LEN) {
            return Err(PlaceNameError::LevelTooLong(level.to_owned()));
        }
        if text.split('/').count() > MAX_LEVELS {
            return Err(PlaceNameError::TooManyLevels(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PlaceName, PlaceNameError> {
        text.parse()
    }

    #[test]
    fn reads_levels_from_the_widest_to_the_nearest() {
        assert!(read("dc1/row3/rack7").unwrap().levels().eq(["dc1", "row3", "rack7"]));
        assert!(read("Zürich_2.b").unwrap().levels().eq(["Zürich_2.b"]));
    }

    #[test]
    fn refuses_names_with_nothing_between_slashes() {
        for wrong in ["", "/", "/dc1", "dc1/", "dc1//rack7"] {
            assert_eq!(read(wrong), Err(PlaceNameError::EmptyLevel(wrong.to_owned())));
        }
    }

    #[test]
    fn refuses_what_a_line_of_words_would_break_at() {
        for (wrong, c) in
            [("dc 1", ' '), ("dc1/\n", '\n'), ("dc1\\row3", '\\'), ("dc\u{1b}[0m", '\u{1b}'), ("a,b", ',')]
        {
            assert_eq!(read(wrong), Err(PlaceNameError::Character(wrong.to_owned(), c)));
        }
    }

    #[test]
    fn bounds_the_levels_and_each_of_them() {
        let levels = |count| vec!["a"; count].join("/");
        assert!(read(&levels(MAX_LEVELS)).is_ok());
        assert_eq!(read(&levels(MAX_LEVELS + 1)), Err(PlaceNameError::TooManyLevels(levels(MAX_LEVELS + 1))));
        let level = |len| "x".repeat(len);
        assert!(read(&format!("dc1/{}", level(MAX_LEVEL_LEN))).is_ok());
        assert_eq!(
            read(&format!("dc1/{}", level(MAX_LEVEL_LEN + 1))),
            Err(PlaceNameError::LevelTooLong(level(MAX_LEVEL_LEN + 1)))
        );
    }
}
