//! What a configuration file that is read again changes of a server that runs, and what it can't.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use tracing::{info, warn};

use super::file::key_of;
use super::{Cli, Command, ServeArgs, serve_command};
use crate::config::UploadRates;
use crate::topology::TopologyControl;
use crate::traffic::RateControl;

/// All settings by their keys, as they were typed or stand in the file.
type Settings = BTreeMap<String, Vec<OsString>>;

/// Takes one of the rates that are wanted.
type Take = fn(&mut UploadRates, UploadRates);

/// The rates, which change while the server runs, each by its key.
const RATES: [(&str, Take); 3] = [
    ("max-upload-rate", |rates, wanted| rates.total = wanted.total),
    ("max-upload-rate-per-group", |rates, wanted| rates.per_group = wanted.per_group),
    ("max-upload-rate-per-peer", |rates, wanted| rates.per_peer = wanted.per_peer),
];
/// What changes as places do. All other settings take a restart.
const PREFIXES: [&str; 2] = ["rack-prefix-v4", "rack-prefix-v6"];

/// How the settings were come by.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) arguments: Vec<OsString>,
    settings: Settings,
}

impl Origin {
    pub(super) fn new(arguments: Vec<OsString>, serve: &ArgMatches) -> Self {
        let command = serve_command();
        let settings = command.get_arguments().filter_map(|argument| {
            let values = serve.get_raw(argument.get_id().as_str()).into_iter().flatten();
            Some((key_of(argument)?.to_owned(), values.map(OsString::from).collect()))
        });
        Self { arguments, settings: settings.collect() }
    }
}

impl ServeArgs {
    /// What reads the file again that says how to serve, if one does.
    pub fn reload(&self) -> Option<Reload> {
        Some(Reload { file: self.config.clone()?, origin: self.origin.clone() })
    }
}

/// Reads the configuration file again.
#[derive(Debug)]
pub struct Reload {
    file: PathBuf,
    origin: Origin,
}

impl Reload {
    /// Reads the file, and changes what has changed in it and can be: a rate that was set elsewhere stays as long as the
    /// file says what it said. Says so in the log, and where the file can't be used changes nothing. It waits for the
    /// disk.
    pub fn again(&mut self, rates: &RateControl, topology: &TopologyControl) {
        let file = self.file.display();
        let args = match Cli::read(self.origin.arguments.clone()) {
            Ok(Cli { command: Command::Serve(args) }) => args,
            Ok(_) => return,
            Err(error) => {
                warn!(%error, "the configuration can't be used; all settings stay as they were");
                return;
            }
        };
        let (mut changed, mut fixed) = (Vec::new(), Vec::new());
        for (key, values) in &args.origin.settings {
            if self.origin.settings.get(key) == Some(values) {
                continue;
            }
            if let Some((_, take)) = RATES.iter().find(|(rate, _)| rate == key) {
                rates.change(|rates| take(rates, args.uploading.rates()));
            } else if !PREFIXES.contains(&key.as_str()) {
                fixed.push(key.as_str());
                continue;
            }
            changed.push(key.as_str());
            self.origin.settings.insert(key.clone(), values.clone());
        }
        let wanted = args.places.topology();
        if *topology.get() != wanted {
            topology.replace(wanted);
            changed.push("place");
        }
        match changed.is_empty() {
            true => info!(%file, "the configuration was read again; nothing changes"),
            false => info!(%file, changed = %changed.join(", "), "the configuration was read again"),
        }
        if !fixed.is_empty() {
            warn!(%file, settings = %fixed.join(", "), "these take a restart, and stay as they were until then");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UploadRate;
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use tempfile::TempDir;

    fn serving(file: &Path, text: &str) -> (Reload, RateControl, TopologyControl) {
        fs::write(file, text).unwrap();
        let arguments =
            ["distributor", "serve", ".", "--no-state", "--max-upload-rate-per-peer", "5k", "--config"];
        let arguments = arguments.map(OsString::from).into_iter().chain([file.into()]).collect();
        let Ok(Cli { command: Command::Serve(args) }) = Cli::read(arguments) else { panic!("it is right") };
        let (rates, places) = (args.uploading.rates(), args.places.topology());
        (args.reload().unwrap(), RateControl::new(rates), TopologyControl::new(Arc::new(places)))
    }

    #[test]
    fn what_changes_while_it_runs_are_settings() {
        let command = serve_command();
        for key in RATES.map(|(key, _)| key).into_iter().chain(PREFIXES) {
            assert!(command.get_arguments().any(|argument| key_of(argument) == Some(key)), "{key}");
        }
    }

    #[test]
    fn takes_other_rates_and_places_and_leaves_what_did_not_change_in_the_file() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let (mut reload, rates, topology) = serving(&file, "max-upload-rate = \"1k\"");
        // As over HTTP.
        rates.change(|rates| rates.total = UploadRate::new(7));
        let before = topology.get();
        reload.again(&rates, &topology);
        assert_eq!(rates.get().total, UploadRate::new(7));
        assert!(Arc::ptr_eq(&topology.get(), &before), "nobody is asked to look at the same again");

        let places = "[[place]]\nat = \"dc1\"\nnetworks = [\"10.0.0.0/8\"]";
        fs::write(&file, format!("max-upload-rate = \"2k\"\nmax-upload-rate-per-group = 3\n{places}"))
            .unwrap();
        reload.again(&rates, &topology);
        let [total, per_group, per_peer] = [2000, 3, 5000].map(UploadRate::new);
        assert_eq!(rates.get(), UploadRates { total, per_group, per_peer });
        let topology = topology.get();
        assert_eq!(topology.written(topology.place_of([10, 1, 2, 3].into())), "dc1");
    }

    #[test]
    fn what_is_typed_stays_whatever_the_file_says_later() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let (mut reload, rates, topology) = serving(&file, "");
        fs::write(&file, "max-upload-rate-per-peer = 9").unwrap();
        reload.again(&rates, &topology);
        assert_eq!(rates.get().per_peer, UploadRate::new(5000));
    }

    #[test]
    fn a_file_that_can_not_be_used_changes_nothing() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("file");
        let (mut reload, rates, topology) = serving(&file, "max-upload-rate = 1000\nrack-prefix-v4 = 20");
        let before = (rates.get(), topology.get());
        for broken in
            ["max-upload-rate = 2000\nrack-prefix-v4 = 33", "max-upload-rate = 2000\nx", "[[place]]"]
        {
            fs::write(&file, broken).unwrap();
            reload.again(&rates, &topology);
            assert_eq!((rates.get(), topology.get()), before, "{broken}");
        }
        fs::remove_file(&file).unwrap();
        reload.again(&rates, &topology);
        assert_eq!((rates.get(), topology.get()), before);
        fs::write(&file, "max-upload-rate = 2000\nrack-prefix-v4 = 20").unwrap();
        reload.again(&rates, &topology);
        assert_eq!(rates.get().total, UploadRate::new(2000), "it is taken once it is right");
    }
}
