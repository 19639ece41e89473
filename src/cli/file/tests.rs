use std::fs;

use tempfile::TempDir;

use super::super::{Cli, Command as Asked, serve_command};
use super::*;
use crate::config::Config;
use crate::topology::MAX_LEVELS;

/// What the program would do by this file and what is typed beside it.
fn read(text: &str, typed: &[&str]) -> Result<Config, String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("distributor.toml");
    fs::write(&path, text).unwrap();
    let file = format!("--config={}", path.display());
    let arguments = ["distributor", "serve", &file].iter().chain(typed).map(Into::into).collect();
    match Cli::read(arguments) {
        Ok(Cli { command: Asked::Serve(args) }) => Ok((*args).into()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string().replace(&path.display().to_string(), "FILE")),
    }
}

#[test]
fn every_flag_is_a_key() {
    let serve = serve_command();
    let keys: Vec<&str> = serve.get_arguments().filter_map(key_of).collect();
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        // Nothing takes this, and what isn't known isn't looked at.
        let wrong = read(&format!("{key} = 1.5"), &["."]).unwrap_err();
        assert!(wrong.starts_with(&format!("FILE, line 1: {key} takes ")), "{wrong}");
    }
}

#[test]
fn every_default_can_be_written_into_the_file() {
    let serve = serve_command();
    let lines: Vec<String> = serve
        .get_arguments()
        .filter(|argument| argument.get_action().takes_values())
        .filter_map(|argument| {
            let [default] = argument.get_default_values() else { return None };
            Some(format!("{} = {:?}", key_of(argument)?, default.to_str()?))
        })
        .collect();
    assert!(lines.len() > 20, "{lines:?}");
    let written = read(&lines.join("\n"), &["."]).unwrap();
    assert_eq!(format!("{written:?}"), format!("{:?}", read("", &["."]).unwrap()));
}

#[test]
fn a_key_is_taken_as_its_flag_is() {
    let text = r#"
        directories = ["/srv/a", "/srv/b"]
        http = 7000
        no-udp = true
        no-dial = false
        wait = 1_0
        max-upload-rate = "10M"
        ignore = ["*.log", "sub/dir"]
        advertise = "192.0.2.1"
        sha1 = "scalar"
        no-state = true
    "#;
    let typed = "/srv/a /srv/b --http 7000 --no-udp --wait 10 --max-upload-rate 10M --ignore *.log --ignore sub/dir \
                 --advertise 192.0.2.1 --sha1 scalar --no-state";
    let typed: Vec<&str> = typed.split_whitespace().collect();
    assert_eq!(format!("{:?}", read(text, &[]).unwrap()), format!("{:?}", read("", &typed).unwrap()));
}

#[test]
fn what_is_typed_wins() {
    let text = r#"
        directories = ["/srv/a", "/srv/b"]
        wait = 10
        ignore = ["*.log"]
        state = "/var/lib/a"
    "#;
    let config =
        read(text, &["/srv/c", "--wait", "20", "--ignore", "*.tmp", "--no-default-ignores"]).unwrap();
    assert_eq!(config.directories, [Path::new("/srv/c")]);
    assert_eq!(config.http.wait.as_secs(), 20);
    assert_eq!(config.watch.ignore, ["*.tmp".parse().unwrap()]);
    assert_eq!(config.state.as_deref(), Some(Path::new("/var/lib/a")));
    assert_eq!(read(text, &["--no-state"]).unwrap().state, None, "it wins over what it excludes");
    let config = read("no-state = true", &[".", "--state", "/var/lib/b"]).unwrap();
    assert_eq!(config.state.as_deref(), Some(Path::new("/var/lib/b")));
}

#[test]
fn says_which_line_and_key_is_wrong() {
    for (text, said) in [
        ("wait = 5\ncolour = 1", "FILE, line 2: there is no setting \"colour\"; "),
        ("config = \"other\"", "FILE, line 1: there is no setting \"config\"; "),
        ("\n\nwait = \"soon\"", "FILE, line 3: wait can't be \"soon\": "),
        ("wait = 86401", "FILE, line 1: wait can't be \"86401\": "),
        (
            "max-upload-rate = \"fast\"",
            "FILE, line 1: max-upload-rate can't be \"fast\": \"fast\" is no rate; ",
        ),
        ("# c\nignore = [\"a\",\n \"a[\"]", "FILE, line 2: ignore can't be \"a[\": "),
        ("public = 1", "FILE, line 1: public takes true or false"),
        ("wait = [1]", "FILE, line 1: wait takes a number or a text in quotes"),
        ("ignore = [1.5]", "FILE, line 1: ignore takes a list of texts"),
        ("wait = 5\n\nwait = 6", "FILE, line 3: this is no TOML: "),
        ("wait = ", "FILE, line 1: this is no TOML: "),
        ("[serve]\nwait = 5", "FILE, line 1: there is no setting \"serve\"; "),
        ("state = \"a\"\nno-state = true", "FILE, line 2: no-state and state exclude each other; "),
        ("place = 5", "FILE, line 1: places are written [[place]]"),
        ("[place]\nat = \"dc1\"", "FILE, line 1: places are written [[place]]"),
        ("wait = 5\n[[place]]\nat = \"dc1\"", "FILE, line 2: places are written [[place]]"),
        ("[[place]]\nnetworks = []", "FILE, line 1: places are written [[place]]"),
        ("[[place]]\nat = 5\nnetworks = []", "FILE, line 2: places are written [[place]]"),
        ("[[place]]\nat = \"dc1\"\nnetworks = \"10.1.0.0/16\"", "FILE, line 3: places are written [[place]]"),
        ("[[place]]\nat = \"dc1\"\nnetworks = []\ncolour = 1", "FILE, line 4: a place has no \"colour\"; "),
        ("[[place]]\nat = \"dc 1\"\nnetworks = []", "FILE, line 2: ' ' can't be in the name of a place"),
        (
            "[[place]]\nat = \"dc1\"\nnetworks = [\n \"10.1.0.0\",\n]",
            "FILE, line 4: \"10.1.0.0\" is not a network; ",
        ),
        (
            "[[place]]\nat = \"dc1\"\nnetworks = [\"10.1.0.1/16\"]",
            "FILE, line 3: 10.1.0.1/16 has bits set past its prefix; ",
        ),
    ] {
        let error = read(text, &["."]).unwrap_err();
        assert!(error.starts_with(said) && !error.contains('\n'), "{text:?}: {error}");
    }
    let twice = "[[place]]\nat = \"dc1\"\nnetworks = [\"10.1.0.0/16\"]\n\
                 [[place]]\nat = \"dc2\"\nnetworks = [\n \"10.2.0.0/16\",\n \"10.1.0.0/16\",\n]";
    let error = read(twice, &["."]).unwrap_err();
    assert_eq!(error, "FILE, line 8: 10.1.0.0/16 is at dc1 already; leave one of them out");
    let deep = format!("[[place]]\nat = \"{}\"\nnetworks = []", ["a"; MAX_LEVELS + 1].join("/"));
    assert!(read(&deep, &["."]).unwrap_err().starts_with("FILE, line 2: "));
    assert!(read("wait = 5", &[]).unwrap_err().starts_with("FILE: there is nothing to serve; "));
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_refused() {
    let error =
        Cli::read(["distributor", "where", "10.0.0.1", "--config", "/no/such/file"].map(Into::into).into());
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("/no/such/file: it can't be read ("), "{error}");
}

#[test]
fn bounds_the_length_of_a_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let len_read = |len| {
        File::create(&path).unwrap().set_len(len).unwrap();
        read_text(&path).unwrap().map(|text| text.len() as u64)
    };
    assert_eq!(len_read(MAX_FILE_LEN), Some(MAX_FILE_LEN));
    assert_eq!(len_read(MAX_FILE_LEN + 1), None);
}

#[test]
fn the_example_in_the_readme_is_one() {
    let readme = include_str!("../../../README.md");
    let (_, example) = readme.split_once("```toml\n").expect("there is one");
    let (example, _) = example.split_once("```").expect("it ends");
    let config = read(example, &[]).unwrap();
    let place = config.topology.place_of("10.1.7.20".parse().unwrap());
    assert_eq!(config.topology.written(place), "dc1/row3/rack7");
}
