//! A setting of a configuration file: the argument that its key stands for, and values as they would be typed.

use std::error::Error as _;

use clap::{Arg, ArgAction, Command};
use toml::de::DeValue;

use super::error::FileProblem;

/// A setting.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) argument: Arg,
    pub(super) values: Vec<String>,
}

impl Setting {
    /// Reads one, held to what its argument takes; none is a switch that is off, as it is anyway.
    pub(super) fn read(serve: &Command, key: &str, value: &DeValue<'_>) -> Result<Option<Self>, FileProblem> {
        let argument = serve
            .get_arguments()
            .find(|argument| key_of(argument) == Some(key))
            .ok_or_else(|| FileProblem::UnknownKey(key.to_owned()))?;
        let kind = |expected| FileProblem::Kind { key: key.to_owned(), expected };
        let values = match (argument.get_action(), value) {
            (ArgAction::SetTrue, DeValue::Boolean(true)) => vec!["true".to_owned()],
            (ArgAction::SetTrue, DeValue::Boolean(false)) => return Ok(None),
            (ArgAction::SetTrue, _) => return Err(kind("true or false")),
            (ArgAction::Append, DeValue::Array(values)) => {
                let texts: Option<_> = values.into_iter().map(|value| text_of(value.get_ref())).collect();
                texts.ok_or_else(|| kind("a list of texts"))?
            }
            (ArgAction::Append, value) => vec![text_of(value).ok_or_else(|| kind("a list of texts"))?],
            (_, value) => vec![text_of(value).ok_or_else(|| kind("a number or a text in quotes"))?],
        };
        let setting = Self { argument: argument.clone(), values };
        setting.check(serve)?;
        Ok(Some(setting))
    }

    /// The key that it was read by.
    pub(super) fn key(&self) -> &str {
        key_of(&self.argument).unwrap_or_default()
    }

    /// Has clap parse the values as if they had been typed.
    fn check(&self, serve: &Command) -> Result<(), FileProblem> {
        if matches!(self.argument.get_action(), ArgAction::SetTrue) {
            return Ok(());
        }
        let alone = serve.clone().no_binary_name(true).mut_args(|argument| argument.required(false));
        for value in &self.values {
            // A file stands in for directories.
            let typed = match self.argument.get_long() {
                Some(long) => vec!["--config=file".to_owned(), format!("--{long}={value}")],
                None => vec!["--config=file".to_owned(), "--".to_owned(), value.clone()],
            };
            alone.clone().try_get_matches_from(typed).map_err(|error| FileProblem::Value {
                key: self.key().to_owned(),
                value: value.clone(),
                why: error.source().map_or_else(|| "write something else".to_owned(), ToString::to_string),
            })?;
        }
        Ok(())
    }
}

/// The key of an argument in the file: its flag's name, or what it is called where it has no flag. Which file is read
/// isn't said in one.
pub(in crate::cli) fn key_of(argument: &Arg) -> Option<&str> {
    let key = argument.get_long().unwrap_or(argument.get_id().as_str());
    Some(key).filter(|key| !matches!(*key, "config" | "help"))
}

/// Whether two arguments can't both be given. Either may be the one that says so.
pub(super) fn exclude_each_other(command: &Command, one: &Arg, other: &Arg) -> bool {
    let excludes = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|excluded| excluded.get_id() == other.get_id())
    };
    excludes(one, other) || excludes(other, one)
}

/// A value as it would be typed.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            Some(i128::from_str_radix(number.as_str(), number.radix()).ok()?.to_string())
        }
        _ => None,
    }
}
