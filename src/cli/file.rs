//! The configuration file: its keys are the flags of `serve`, and become defaults of the command line. No flag is known
//! here by its name: which there are, and what they take, clap says.

mod error;
mod setting;
mod table;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use toml::de::DeTable;

use self::error::Misplaced;
pub use self::error::{FileError, FileProblem};
pub(super) use self::setting::key_of;
use self::setting::{Setting, exclude_each_other};
use crate::topology::TopologyBuilder;

/// The longest file that is read; one with as many networks as there can be is shorter.
const MAX_FILE_LEN: u64 = 64 * 1024 * 1024;
/// The key of places and their networks, which are no flags.
const PLACE: &str = "place";

/// What a configuration file says.
#[derive(Debug)]
pub(super) struct ConfigFile {
    settings: Vec<Setting>,
    /// Its places.
    pub(super) table: TopologyBuilder,
}

impl ConfigFile {
    /// Reads a file whose keys are the arguments of a command.
    pub(super) fn read(path: &Path, serve: &Command) -> Result<Self, FileError> {
        let of_file = |problem| FileError { path: path.to_owned(), line: None, problem };
        let text = read_text(path).map_err(|error| of_file(FileProblem::Unreadable(error)))?;
        let text = text.ok_or_else(|| of_file(FileProblem::TooLong))?;
        Self::parse(&text, serve).map_err(|Misplaced { at, problem }| FileError {
            line: Some(line_of(&text, at)),
            ..of_file(problem)
        })
    }

    fn parse(text: &str, serve: &Command) -> Result<Self, Misplaced> {
        let document = DeTable::parse(text).map_err(|error| Misplaced {
            at: error.span().map_or(0, |span| span.start),
            problem: FileProblem::Syntax(error.message().replace('\n', " ")),
        })?;
        let mut entries: Vec<_> = document.get_ref().iter().collect();
        // Of several mistakes the first is told.
        entries.sort_unstable_by_key(|(key, _)| key.span().start);
        let mut file = Self { settings: Vec::new(), table: TopologyBuilder::default() };
        for (key, value) in entries {
            let misplaced = |problem| Misplaced { at: key.span().start, problem };
            if key.get_ref() == PLACE {
                table::read(value, &mut file.table)?;
                continue;
            }
            let Some(setting) = Setting::read(serve, key.get_ref(), value.get_ref()).map_err(misplaced)?
            else {
                continue;
            };
            let rival = file
                .settings
                .iter()
                .find(|other| exclude_each_other(serve, &other.argument, &setting.argument));
            if let Some(rival) = rival {
                let problem = FileProblem::Conflict(key.get_ref().to_string(), rival.key().to_owned());
                return Err(misplaced(problem));
            }
            file.settings.push(setting);
        }
        Ok(file)
    }

    /// The command with the file's values as defaults of those of its arguments that it sets. What was typed wins, also
    /// over what it excludes.
    pub(super) fn set_defaults(&self, command: Command, typed: &ArgMatches) -> Command {
        let is_typed = |id: &str| {
            matches!(typed.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        let wins = |setting: &&Setting| {
            let mut rivals = command
                .get_arguments()
                .filter(|other| exclude_each_other(&command, other, &setting.argument));
            !rivals.any(|rival| is_typed(rival.get_id().as_str()))
        };
        let is_known = |setting: &&Setting| {
            command.get_arguments().any(|argument| argument.get_id() == setting.argument.get_id())
        };
        let settings: Vec<_> = self.settings.iter().filter(is_known).filter(wins).collect();
        settings.into_iter().fold(command, |command, setting| {
            command.mut_arg(setting.argument.get_id().clone(), |argument| {
                argument.default_values(&setting.values)
            })
        })
    }
}

/// None of a file that is too long.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_FILE_LEN + 1).read_to_string(&mut text)?;
    Ok(u64::try_from(read).is_ok_and(|len| len <= MAX_FILE_LEN).then_some(text))
}

/// The number of the line that a byte is in.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
