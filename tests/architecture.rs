//! The floor plan holds: who may import whom, read from the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, layer by layer: a room may name rooms on layers below its own, and never its neighbours.
///
/// A policy is one file of `seeder`: pure functions over plain values, which know nothing of the room they lie in.
const LAYERS: [&[&str]; 11] = [
    &["main"],
    &["lib", "cli"],
    &["server"],
    &["http", "seeder", "udp"],
    &["announce", "ingest", "metadata"],
    &["catalog", "hasher"],
    &["racks", "simulation", "tracker", "seeder::capacity", "seeder::choker", "seeder::rate_limit"],
    &["accept", "disks", "metrics", "steering", "store", "state", "traffic", "watcher"],
    // What a file is, and what was set: any room may need to say it.
    &["config", "files"],
    &["topology"],
    &["distributor_proto"],
];

/// The crate of the wire touches none of these.
const NOT_IN_PROTO: [&str; 9] = [
    "tokio::",
    "std::net::Tcp",
    "std::net::Udp",
    "std::fs",
    "std::io",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "rand::",
];

fn layer_of(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// The room of a file, by its path below `src`; a file of a folder belongs to the folder's room unless it is a policy.
fn room_of(file: &Path) -> String {
    let text = file.with_extension("").display().to_string().replace('/', "::");
    let room = text.split("::").next().unwrap_or_default();
    if layer_of(&text).is_some() { text } else { room.to_owned() }
}

/// The source without its comments.
fn code_of(source: &str) -> String {
    source
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path that follows `prefix`, with `{}` lists taken apart: `crate::{a, b::{c, d}}` gives a, b::c and b::d.
fn paths_after(code: &str, prefix: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let continues = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$';
        if !code[..at].ends_with(continues) {
            expand("", &code[at + prefix.len()..], &mut paths);
        }
    }
    paths
}

/// Reads one path from the start of `code` into `paths`, and gives what follows it.
fn expand<'a>(before: &str, code: &'a str, paths: &mut Vec<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if rest.is_empty() {
                return rest;
            }
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            rest = expand(before, rest, paths);
            // ` as name`, and whatever else may stand behind a path.
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
        }
    }
    let end = code.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    let path = if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") };
    match rest.strip_prefix("::") {
        Some(rest) if !name.is_empty() => expand(&path, rest, paths),
        _ => {
            // A glob or a bare list's end adds nothing to what stands before it.
            paths.push(if name.is_empty() { before.to_owned() } else { path });
            rest.strip_prefix('*').unwrap_or(rest)
        }
    }
}

/// The room that a path names, as seen from the crate's root.
fn room_named(path: &str) -> String {
    let parts: Vec<&str> = path.split("::").take(2).collect();
    let deep = parts.join("::");
    if layer_of(&deep).is_some() {
        return deep;
    }
    // `crate::Config` is what lib.rs re-exports.
    let own = parts[0].chars().next().is_none_or(char::is_uppercase);
    if own { "lib".to_owned() } else { parts[0].to_owned() }
}

/// What a file names against the plan, in words.
fn violations(file: &Path, source: &str) -> Vec<String> {
    let room = room_of(file);
    let Some(layer) = layer_of(&room) else {
        return vec![format!(
            "{}: {room} is on no layer; give it one in tests/architecture.rs",
            file.display()
        )];
    };
    let code = code_of(source);
    let mut named: Vec<String> = paths_after(&code, "crate::").iter().map(|path| room_named(path)).collect();
    if let Some((folder, _)) = room.split_once("::") {
        // For a policy the room around it is another one, above it. Its tests' `super` is itself.
        let own = code.split("#[cfg(test)]").next().unwrap_or_default();
        let around = paths_after(own, "super::").into_iter().filter(|path| !path.is_empty());
        named.extend(around.map(|path| room_named(&format!("{folder}::{path}"))));
    }
    if code.contains("distributor_proto::") {
        named.push("distributor_proto".to_owned());
    }
    named.retain(|other| *other != room);
    named.sort();
    named.dedup();
    let complaint = |other: &String| match layer_of(other) {
        None => Some(format!("{}: {other} is on no layer", file.display())),
        Some(below) if below > layer => None,
        Some(_) => Some(format!("{}: {room} must not name {other}", file.display())),
    };
    named.iter().filter_map(complaint).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("a directory can be read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_room_imports_downward_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&src);
    assert!(files.len() > 10, "the sources are there");
    let relative = |path: &PathBuf| path.strip_prefix(&src).expect("it lies below src").to_owned();
    let found: Vec<String> = files.iter().flat_map(|path| violations(&relative(path), &read(path))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_wire_crate_touches_no_network_no_file_and_no_clock() {
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/src")) {
        let code = code_of(&read(&path));
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for forbidden in NOT_IN_PROTO {
            assert!(!code.contains(forbidden), "{} names {forbidden}", path.display());
        }
    }
}

#[test]
fn a_violation_is_found_however_it_is_written() {
    let bad = [
        ("tracker/mod.rs", "use crate::http::Answer;"),
        ("catalog.rs", "use crate::hasher::Hasher;"),
        ("http/serve.rs", "use crate::{\n    catalog::Catalog,\n    seeder::{self, listener},\n};"),
        ("store.rs", "use crate::{files::FilePath, watcher::{Watcher as Eyes}, files};"),
        ("files.rs", "fn f() -> crate::store::Store {}"),
        ("seeder/choker.rs", "use crate::seeder::connection::Connection;"),
        ("seeder/choker.rs", "use super::connection::Connection;"),
        ("seeder/choker.rs", "use super::rate_limit::Bucket;"),
        ("config.rs", "use crate::Server;"),
        ("attic.rs", "use std::fs;"),
        ("server.rs", "use crate::attic::Box;"),
    ];
    for (file, source) in bad {
        assert_eq!(violations(Path::new(file), source).len(), 1, "{file}: {source}");
    }
    let good = [
        (
            "server/mod.rs",
            "use crate::http::Answer; use crate::{seeder, config::*, files::{FilePath, RootId}};",
        ),
        ("http/serve.rs", "use crate::http::head; use super::tail; use crate::tracker::{swarm, Tracker};"),
        (
            "seeder/connection.rs",
            "use super::choker::Choker; use crate::seeder::rate_limit; pub(crate) fn f() {}",
        ),
        ("seeder/choker.rs", "use std::time::Duration; // crate::http is far away"),
        ("tracker/mod.rs", "use distributor_proto::InfoHash; use my_crate::http::x;"),
        ("lib.rs", "pub use crate::server::Server;"),
    ];
    for (file, source) in good {
        assert_eq!(violations(Path::new(file), source), [""; 0], "{file}: {source}");
    }
}
