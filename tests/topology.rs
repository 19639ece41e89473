//! The configuration file, and where hosts are by it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::files::Contents;
use crate::support::server::{Server, refusal, run};

/// A configuration file, in a directory that goes with it.
struct Written {
    directory: TempDir,
}

impl Written {
    fn new(text: &str) -> Self {
        let written = Self { directory: TempDir::new().expect("a temporary directory can be made") };
        written.write(text);
        written
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("distributor.toml")
    }

    fn name(&self) -> String {
        self.path().to_str().expect("its name is text").to_owned()
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("a file can be written");
    }
}

/// A table of places, each with one network.
fn places(places: &[(&str, &str)]) -> String {
    places
        .iter()
        .map(|(at, network)| format!("[[place]]\nat = \"{at}\"\nnetworks = [\"{network}\"]\n"))
        .collect()
}

#[test]
fn where_says_the_place_of_an_address_and_why() {
    let table = places(&[("dc1", "10.1.0.0/16"), ("dc1/row3/rack7", "10.1.7.0/24"), ("dc1", "fd00:1::/32")]);
    let file = Written::new(&format!("rack-prefix-v4 = 26\nwait = 5\n{table}"));
    let name = file.name();
    let told = |arguments: &[&str]| {
        let output = run(&[&["where"], arguments].concat());
        let text = String::from_utf8(output.stdout).expect("it is text");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        (text.trim_end().to_owned(), output.status.code())
    };
    for (address, said, code) in [
        ("10.1.7.20", "dc1/row3/rack7 by 10.1.7.0/24", 0),
        ("::ffff:10.1.7.20", "dc1/row3/rack7 by 10.1.7.0/24", 0),
        ("10.1.8.20", "dc1 by 10.1.0.0/16", 0),
        ("fd00:1::20", "dc1 by fd00:1::/32", 0),
        ("10.2.0.70", "10.2.0.64/26 by its first 26 bits", 0),
        ("fd00:2::1", "fd00:2::/64 by a guess: nobody said where fd00:2::1 is", 1),
    ] {
        assert_eq!(told(&[address, "--config", &name]), (said.to_owned(), Some(code)));
    }
    let typed = told(&["10.2.0.70", "--config", &name, "--rack-prefix-v4", "16"]);
    assert_eq!(typed, ("10.2.0.0/16 by its first 16 bits".to_owned(), Some(0)));
    assert_eq!(told(&["10.1.7.20"]).1, Some(1), "without a file it is a guess");
}

#[test]
fn a_file_with_a_mistake_is_refused_with_its_line() {
    let file = Written::new("wait = 5\ncolour = 1\n");
    let name = file.name();
    for command in [&["serve", "/tmp"][..], &["serve"], &["where", "10.0.0.1"]] {
        let text = refusal(&[command, &["--config", &name]].concat(), 2);
        assert!(text.contains(&format!("{name}, line 2: there is no setting \"colour\"")), "{text}");
    }
    file.write(&places(&[("dc1", "10.1.0.0/16"), ("dc2", "10.1.0.0/16")]));
    let text = refusal(&["serve", "/tmp", "--config", &name], 2);
    assert!(text.contains(&format!("{name}, line 6: 10.1.0.0/16 is at dc1 already")), "{text}");
    refusal(&["where", "rack7"], 2);
    refusal(&["where", "10.0.0.1", "--config", "/no/such/file"], 2);
}

#[test]
fn serves_as_the_file_says() {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let contents = Contents::new(1, 1000);
    contents.write(directory.path().join("file"));
    let text = |directory: &Path| {
        let settings = "http = \"127.0.0.1:0\"\npeers = \"127.0.0.1:0\"\nno-udp = true\nignore = [\"*.log\"]";
        format!("directories = [{directory:?}]\n{settings}\n")
    };
    let file = Written::new(&text(directory.path()));
    contents.write(directory.path().join("kept.log"));
    let server = Server::configured_by(&file.path()).start();
    server.torrent("file").assert_describes(&contents);
    assert_ne!(server.http().port(), 6969, "the system chose one");
    server.serve("kept.log").expect(404);
    server.stop();
}
