//! `/serve` and `/serve_last_updated`, as wget, curl and scripts call them.

use std::fs::{self, File, FileTimes};
use std::io::BufReader;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::support::files::{Contents, KIB, MIB, PIECE};
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::torrent::Torrent;
use crate::support::wait_for;

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory can be made")
}

/// Writes a file and dates it so many seconds back.
fn write_aged(path: impl AsRef<Path>, seed: u64, seconds: u64) -> Contents {
    let contents = Contents::new(seed, KIB);
    fs::create_dir_all(path.as_ref().parent().expect("a file has a directory"))
        .expect("a directory can be made");
    contents.write_aged(path, seconds);
    contents
}

#[test]
fn answers_with_a_torrent_that_clients_and_scripts_understand() {
    let directory = directory();
    let contents = Contents::new(1, PIECE + 1);
    contents.write(directory.path().join("my file.iso"));
    let server = Server::serving(directory.path()).start();
    let answer = server.serve("my file.iso").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/x-bittorrent"));
    let disposition = answer.header("content-disposition").expect("a file name for browsers");
    assert!(disposition.contains("my file.iso.torrent"), "{disposition}");
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(answer.header("content-location").is_some_and(|path| path.ends_with("my%20file.iso")));
    let torrent = Torrent::read(&answer.body);
    torrent.assert_describes(&contents);
    assert_eq!(torrent.name, b"my file.iso");
    assert!(torrent.private, "torrents are private unless the operator says otherwise");
    assert_eq!(torrent.announce, format!("http://{}/announce", server.http()));
}

#[test]
fn head_answers_as_get_does_but_without_the_body() {
    let directory = directory();
    Contents::new(1, PIECE + 1).write(directory.path().join("file"));
    let server = Server::serving(directory.path()).start();
    for target in ["/serve?file", "/serve_last_updated"] {
        let get = server.get(target).expect(200);
        let head = server.send(Request::head(target)).expect(200);
        for header in ["content-type", "content-length", "content-disposition", "content-location", "etag"] {
            assert!(get.header(header).is_some(), "{target} has no {header}");
            assert_eq!(get.header(header), head.header(header), "{target} {header}");
        }
        assert!(head.body.is_empty());
    }
    server.send(Request::head("/serve?none")).expect(404);
}

#[test]
fn pieces_are_a_power_of_two_and_as_many_as_clients_like() {
    let directory = directory();
    let server = Server::serving(directory.path()).start();
    for (len, piece_length) in [(1, PIECE), (PIECE, PIECE), (100 * MIB, PIECE), (200 * MIB, 2 * PIECE)] {
        let name = len.to_string();
        File::create(directory.path().join(&name)).and_then(|file| file.set_len(len as u64)).expect("made");
        let torrent = server.torrent(&name);
        assert_eq!((torrent.length, torrent.piece_length), (len, piece_length));
        assert_eq!(torrent.piece_count(), len.div_ceil(piece_length));
        assert!(len < 26 * MIB || (400..=2000).contains(&torrent.piece_count()));
    }
}

#[test]
fn explains_what_it_does_not_have() {
    let directory = directory();
    fs::create_dir(directory.path().join("sub")).expect("a directory can be made");
    let server = Server::serving(directory.path()).start();
    for target in ["/serve?none", "/serve?sub", "/serve?sub/none", "/serve_last_updated?none"] {
        server.get(target).expect_sentence(404);
    }
    server.get("/serve_last_updated").expect_sentence(404);
    server.get("/no-such-page").expect(404);
    server.send(Request::get("/serve?none").method("DELETE")).expect(405);
}

#[test]
fn refuses_names_that_lead_elsewhere() {
    let parent = directory();
    let inside = parent.path().join("served");
    fs::create_dir(&inside).expect("a directory can be made");
    Contents::new(1, KIB).write(parent.path().join("secret"));
    Contents::new(2, KIB).write(inside.join("file"));
    let server = Server::serving(&inside).start();
    server.serve("file").expect(200);
    for name in [
        "../secret",
        "%2e%2e/secret",
        "..%2Fsecret",
        "served/../../secret",
        "sub/../file",
        "file/..",
        "..",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "//etc/passwd",
        "file%00",
        "%00",
        "a%00/../b",
        "100%",
        "%zz",
        "%2",
    ] {
        server.get(format!("/serve?{name}")).expect_sentence(400);
        server.get(format!("/serve_last_updated?{name}")).expect_sentence(400);
    }
    server.get("/serve").expect_sentence(400);
    server.get("/serve?").expect_sentence(400);
    for target in ["/../secret", "/serve/../secret", "/secret"] {
        assert!(server.get(target).status >= 400, "{target}");
    }
}

#[test]
fn refuses_names_longer_than_any_path() {
    let directory = directory();
    let server = Server::serving(directory.path()).start();
    server.serve("x".repeat(255)).expect_sentence(404);
    server.serve("x".repeat(256)).expect(404);
    server.serve("long/".repeat(800)).expect(404);
    for len in [9_000, 100_000] {
        let status = server.serve("x".repeat(len)).status;
        assert!([400, 404, 414, 431].contains(&status), "{len}: {status}");
    }
    server.get("/serve_last_updated").expect(404);
}

#[test]
fn a_directory_name_tells_files_of_the_same_name_apart() {
    let [one, two] = [directory(), directory()];
    let [first, second] = [one.path().join("alpha"), two.path().join("b\u{ea}ta dir")];
    let old = write_aged(first.join("sub/file.iso"), 1, 100);
    let new = write_aged(second.join("sub/file.iso"), 2, 50);
    let only = write_aged(first.join("only"), 3, 10);
    let server = Server::serving(&first).and(&second).start();

    server.torrent("alpha/sub/file.iso").assert_describes(&old);
    server.torrent("b\u{ea}ta dir/sub/file.iso").assert_describes(&new);
    let newest = server.serve("sub/file.iso").expect(200);
    Torrent::read(&newest.body).assert_describes(&new);
    assert_eq!(newest.header("content-location"), Some("/serve?b%C3%AAta%20dir/sub/file.iso"));
    let only_one = server.serve("only").expect(200);
    Torrent::read(&only_one.body).assert_describes(&only);
    assert_eq!(only_one.header("content-location"), Some("/serve?alpha/only"));
    // What the header says can be asked for as it stands.
    let located = server.get("/serve?b%C3%AAta%20dir/sub/file.iso").expect(200);
    assert_eq!(located.body, newest.body);
    server.serve("b\u{ea}ta dir/only").expect(404);
}

#[test]
fn the_file_modified_last_is_found_in_all_directories_and_in_one() {
    let [one, two] = [directory(), directory()];
    let [first, second] = [one.path().join("first"), two.path().join("second")];
    let oldest = write_aged(first.join("oldest"), 1, 4000);
    let middle = write_aged(first.join("deep/er/middle"), 2, 3000);
    let newest = write_aged(second.join("new \u{fc}est"), 3, 2000);
    let server = Server::serving(&first).and(&second).start();
    let last = |target: &str| {
        let answer = server.get(target).expect(200);
        (Torrent::read(&answer.body), answer)
    };

    let (torrent, answer) = last("/serve_last_updated");
    torrent.assert_describes(&newest);
    assert_eq!(torrent.name, "new \u{fc}est".as_bytes());
    assert_eq!(answer.header("content-location"), Some("/serve?second/new%20%C3%BCest"));
    for directory in ["second", "second/"] {
        last(&format!("/serve_last_updated?{directory}")).0.assert_describes(&newest);
    }
    for directory in ["first", "first/deep", "deep", "deep/er", "first/deep/er"] {
        last(&format!("/serve_last_updated?{directory}")).0.assert_describes(&middle);
    }
    // A change makes another one the last.
    let date = SystemTime::now() - Duration::from_secs(100);
    let file = File::options().write(true).open(first.join("oldest")).expect("the file can be opened");
    file.set_times(FileTimes::new().set_modified(date)).expect("the file can be dated");
    drop(file);
    wait_for("the touched file to be the last", || {
        let answer = server.get("/serve_last_updated").expect(200);
        (answer.header("content-location") == Some("/serve?first/oldest")).then_some(answer)
    });
    last("/serve_last_updated?first").0.assert_describes(&oldest);
    server.get("/serve_last_updated?third").expect_sentence(404);
}

#[test]
fn hosts_that_poll_are_told_that_nothing_changed() {
    let directory = directory();
    let path = directory.path().join("file");
    write_aged(&path, 1, 1000);
    let server = Server::serving(directory.path()).start();
    for target in ["/serve?file", "/serve_last_updated"] {
        let first = server.get(target).expect(200);
        let tag = first.header("etag").expect("an ETag").to_owned();
        let date = first.header("last-modified").expect("a Last-Modified").to_owned();
        assert!(date.ends_with(" GMT"), "{date}");
        let with = |name: &str, value: &str| server.send(Request::get(target).header(name, value));
        let unchanged = with("If-None-Match", &tag).expect(304);
        assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
        with("If-None-Match", "*").expect(304);
        with("If-None-Match", &format!("\"other\", {tag}")).expect(304);
        with("If-None-Match", "\"other\"").expect(200);
        with("If-Modified-Since", &date).expect(304);
        with("If-Modified-Since", "Thu, 01 Jan 1970 00:00:01 GMT").expect(200);
        // RFC 9110, 13.1.3: the tag decides where both are there.
        let both =
            Request::get(target).header("If-Modified-Since", &date).header("If-None-Match", "\"other\"");
        server.send(both).expect(200);
        server.send(Request::head(target).header("If-None-Match", &tag)).expect(304);
    }
    let before = server.serve("file");
    let tag = before.header("etag").expect("an ETag");
    let replacement = write_aged(directory.path().join(".next"), 2, 1000);
    fs::rename(directory.path().join(".next"), &path).expect("a file can be replaced");
    let after = wait_for("the replacement", || {
        let answer = server.send(Request::get("/serve?file").header("If-None-Match", tag));
        (answer.status == 200).then_some(answer)
    });
    Torrent::read(&after.body).assert_describes(&replacement);
}

#[test]
fn the_announce_url_is_where_the_asker_reached_us() {
    let directory = directory();
    Contents::new(1, KIB).write(directory.path().join("file"));
    // All addresses: `[::]` hands an IPv4 asker's connection over with a mapped address.
    let server = Server::serving(directory.path()).start();
    let port = server.http().port();
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let announce = |request: Request, to| Torrent::read(&request.send(to).expect(200).body).announce;
    let request = || Request::get("/serve?file");

    for (host, url) in [
        ("origin:6969", "http://origin:6969/announce"),
        ("origin", "http://origin/announce"),
        ("Files.Example.ORG:80", "http://files.example.org:80/announce"),
        ("[fd00::1]:7000", "http://[fd00::1]:7000/announce"),
        ("192.0.2.7:8080", "http://192.0.2.7:8080/announce"),
    ] {
        assert_eq!(announce(request().host(host), v4).to_ascii_lowercase(), url);
    }
    assert_eq!(announce(request().http_1_0(), v4), format!("http://127.0.0.1:{port}/announce"));
    assert_eq!(announce(request().http_1_0(), v6), format!("http://[::1]:{port}/announce"));
    let absolute = Request::get("http://proxied:6969/serve?file").host("proxied:6969");
    assert_eq!(announce(absolute, v4), "http://proxied:6969/announce");
    for bad in ["bad host", "a/b", "x\"y", "user@host"] {
        let answer = request().host(bad).send(v4);
        let harmless = answer.status == 400 || !Torrent::read(&answer.body).announce.contains(bad);
        assert!(harmless, "{bad:?} became part of an announce URL");
    }
}

#[test]
fn the_operator_may_name_the_announce_url() {
    let directory = directory();
    Contents::new(1, KIB).write(directory.path().join("file"));
    let url = "http://tracker.example:81/announce";
    let server = Server::serving(directory.path()).option("--announce-url", url).start();
    assert_eq!(server.torrent("file").announce, url);
}

#[test]
fn one_info_hash_for_the_same_bytes_whatever_the_host_name_or_the_run() {
    let [one, two] = [directory(), directory()];
    let contents = Contents::new(1, 3 * MIB);
    contents.write(one.path().join("file"));
    let server = Server::serving(one.path()).start();
    let first = server.torrent("file");
    let other_host = server.send(Request::get("/serve?file").host("elsewhere:1"));
    assert_eq!(Torrent::read(&other_host.expect(200).body).info_hash, first.info_hash);
    server.stop();
    contents.write(two.path().join("file"));
    let server = Server::serving(two.path()).start();
    assert_eq!(server.torrent("file").info_hash, first.info_hash);
    assert_eq!(server.serve("file").body, server.serve("file").body);
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let directory = directory();
    Contents::new(1, KIB).write(directory.path().join("file"));
    let server = Server::serving(directory.path()).start();
    let mut stream = BufReader::new(TcpStream::connect(server.http()).expect("it accepts connections"));
    for _ in 0..3 {
        Request::get("/serve?file").send_on(&mut stream).expect(200);
        Request::head("/serve?file").send_on(&mut stream).expect(200);
        Request::get("/serve?none").send_on(&mut stream).expect(404);
    }
}
