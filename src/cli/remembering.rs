//! The flags that say where files are remembered.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use tracing::warn;

/// Where what was hashed outlives the process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(super) struct RememberingArgs {
    /// Where to remember what was hashed and who is in which swarm, outside of DIR [default: distributor in
    /// $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR", conflicts_with = "no_state")]
    state: Option<PathBuf>,

    /// Remember nothing: every start hashes all files, and swarms begin anew
    #[arg(long)]
    no_state: bool,
}

impl RememberingArgs {
    /// Where to remember files, if at all.
    pub(super) fn directory(&self, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
        if self.no_state {
            return None;
        }
        let directory = self.state.clone().or_else(|| default_state_directory(variable));
        if directory.is_none() {
            warn!(
                "there is no home directory to remember files in; name one with --state DIR, or every start hashes all"
            );
        }
        directory
    }
}

/// What systemd has made for a service (`StateDirectory=`), else where the XDG base directory specification puts such
/// things.
fn default_state_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // systemd joins several by colons; the specification ignores paths that aren't absolute.
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let of = |name| variable(name).map(PathBuf::from).and_then(absolute);
    let systemd = variable("STATE_DIRECTORY").and_then(|all| {
        all.as_bytes().split(|byte| *byte == b':').next().map(|first| OsStr::from_bytes(first).into())
    });
    systemd.and_then(absolute).or_else(|| {
        let all = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
        Some(all?.join("distributor"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        remembering: RememberingArgs,
    }

    #[test]
    fn remembers_where_it_was_told_to_or_where_such_things_are_kept() {
        let state = |flags: &[&str], variables: &[(&str, &str)]| {
            let args = Flags::try_parse_from(["distributor"].iter().chain(flags)).unwrap();
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            };
            args.remembering.directory(variable).map(|path| path.into_os_string().into_string().unwrap())
        };
        let all = [("STATE_DIRECTORY", "/s:/t"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(state(&["--state", "dir"], &all).as_deref(), Some("dir"));
        assert_eq!(state(&["--no-state"], &all), None);
        assert_eq!(state(&[], &all).as_deref(), Some("/s"));
        assert_eq!(state(&[], &all[1..]).as_deref(), Some("/x/distributor"));
        assert_eq!(state(&[], &all[2..]).as_deref(), Some("/h/.local/state/distributor"));
        assert_eq!(
            state(&[], &[("XDG_STATE_HOME", "x"), ("HOME", "/h")]).as_deref(),
            Some("/h/.local/state/distributor")
        );
        assert_eq!(state(&[], &[("HOME", "")]), None);
        assert_eq!(state(&[], &[]), None);
    }
}
