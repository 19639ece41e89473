//! The built program as a process: on ports of its own choosing on this machine, or with its defaults on a host of a
//! test network.

use std::ffi::OsString;
use std::io::{BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::http::{self, Request, Response, percent_encode};
use super::net::Host;
use super::process::{Running, command};
use super::torrent::Torrent;
use super::{DEADLINE, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_distributor");

/// The program, to be run in whatever way a test needs.
pub(crate) fn program(host: Option<&Host>) -> Command {
    let mut command = command(PROGRAM, host);
    command.env("RUST_LOG", "debug").env("RUST_BACKTRACE", "1");
    command
}

/// As [`program`], started by another that takes something from it: its name and its options.
fn program_through(wrapper: &[String], host: Option<&Host>) -> Command {
    let Some((wrapper, options)) = wrapper.split_first() else { return program(host) };
    let mut command = command(wrapper, host);
    command.env("RUST_LOG", "debug").env("RUST_BACKTRACE", "1");
    command.args(options).arg(PROGRAM);
    command
}

/// Runs it to its end, with the log that is the default.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let home = TempDir::new().expect("a temporary directory can be made");
    let mut command = program(None);
    command.env_remove("RUST_LOG").env("HOME", home.path()).args(arguments);
    let mut process = Running::start("distributor", &mut command, home.path());
    let status = process.wait(DEADLINE);
    Output { status, stdout: process.stdout().into_bytes(), stderr: process.stderr().into_bytes() }
}

/// Panics unless it ended with this code and one line on stderr, which it returns.
#[track_caller]
pub(crate) fn refusal(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).expect("what it says is text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{arguments:?}: {text:?}");
    assert!(output.stdout.is_empty(), "a refusal goes to stderr alone");
    text
}

/// How it is to be started.
pub(crate) struct Setup<'a> {
    directories: Vec<PathBuf>,
    options: Vec<OsString>,
    host: Option<&'a Host>,
    wrapper: Vec<String>,
    home: Option<PathBuf>,
    quiet: bool,
}

impl<'a> Setup<'a> {
    /// One more watched directory.
    pub(crate) fn and(mut self, directory: impl AsRef<Path>) -> Self {
        self.directories.push(directory.as_ref().to_owned());
        self
    }

    /// An option and its value.
    pub(crate) fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.into(), value.into()]);
        self
    }

    /// An option without a value.
    pub(crate) fn flag(mut self, name: &str) -> Self {
        self.options.push(name.into());
        self
    }

    /// On a host of a network, with the ports that are the default.
    pub(crate) fn on(self, host: &'a Host) -> Self {
        Self { host: Some(host), ..self }
    }

    /// By a user who was there before, and so remembers what was remembered then; others are new to this machine.
    pub(crate) fn home(self, directory: impl AsRef<Path>) -> Self {
        Self { home: Some(directory.as_ref().to_owned()), ..self }
    }

    /// To peers that ask for whatever they like, and not for what they were shown.
    pub(crate) fn showing_everything(self) -> Self {
        self.option("--super-seeding", "off")
    }

    /// With the log that is the default: what is done to it here would fill a disk with the other.
    pub(crate) fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// With no more than so many open files and sockets.
    pub(crate) fn descriptors(self, count: u32) -> Self {
        Self { wrapper: vec!["prlimit".into(), format!("--nofile={count}:{count}")], ..self }
    }

    /// As somebody whom the rights of files concern, which they don't root.
    pub(crate) fn unprivileged(self) -> Self {
        let wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
        Self { wrapper: wrapper.map(str::to_owned).into(), ..self }
    }

    /// To which a hangup means what it means by default, even where the tests were started by `nohup`.
    pub(crate) fn ended_by_hangups(self) -> Self {
        let wrapper = ["env", "--default-signal=HUP"];
        Self { wrapper: wrapper.map(str::to_owned).into(), ..self }
    }

    /// In a user namespace where no more than so many directories can be watched.
    pub(crate) fn watches(self, count: u32) -> Self {
        let limit = "echo \"$1\" > /proc/sys/user/max_inotify_watches && shift && exec \"$@\"";
        let count = count.to_string();
        let wrapper = ["unshare", "--map-root-user", "sh", "-c", limit, "sh", &count];
        Self { wrapper: wrapper.map(str::to_owned).into(), ..self }
    }

    /// Starts it and waits until it says that it listens.
    pub(crate) fn start(self) -> Server {
        let scratch = TempDir::new().expect("a temporary directory can be made");
        let home = self.home.as_deref().unwrap_or(scratch.path());
        let mut command = program_through(&self.wrapper, self.host);
        if self.quiet {
            command.env_remove("RUST_LOG");
        }
        command.env("HOME", home).arg("serve").args(&self.directories).args(&self.options);
        for port in ["--http", "--peers"] {
            // The system chooses, unless the test, its file or the default does.
            if self.host.is_none()
                && !self.directories.is_empty()
                && !self.options.iter().any(|option| option == port)
            {
                command.args([port, "0"]);
            }
        }
        let mut process = Running::start("distributor", &mut command, scratch.path());
        let line = process.wait_until(DEADLINE, |process| {
            if let Some(status) = process.exited() {
                panic!("distributor ended with {status} at its start\n{}", process.story());
            }
            process.stdout().split_once('\n').map(|(line, _)| line.to_owned())
        });
        let (http, peers) = read_listening_line(&line);
        Server { process, http, peers, _scratch: scratch }
    }
}

/// The two addresses of `listening http=ADDR peers=ADDR`.
pub(crate) fn read_listening_line(line: &str) -> (SocketAddr, SocketAddr) {
    let addresses = line.strip_prefix("listening http=").and_then(|rest| rest.split_once(" peers="));
    let (http, peers) = addresses.unwrap_or_else(|| panic!("the first line is {line:?}"));
    let parse = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text:?} is no address"));
    (parse(http), parse(peers))
}

/// A running program.
pub(crate) struct Server {
    process: Running,
    http: SocketAddr,
    peers: SocketAddr,
    _scratch: TempDir,
}

impl Server {
    /// To be completed and started: the program with one watched directory.
    pub(crate) fn serving<'a>(directory: impl AsRef<Path>) -> Setup<'a> {
        Setup {
            directories: Vec::new(),
            options: Vec::new(),
            host: None,
            wrapper: Vec::new(),
            home: None,
            quiet: false,
        }
        .and(directory)
    }

    /// Likewise: the program with nothing but a configuration file.
    pub(crate) fn configured_by<'a>(file: &Path) -> Setup<'a> {
        let setup = Setup { directories: Vec::new(), ..Self::serving(file) };
        setup.option("--config", file.to_str().expect("its name is text"))
    }

    /// Where HTTP is answered on this machine.
    pub(crate) fn http(&self) -> SocketAddr {
        reachable(self.http)
    }

    /// Where peers are accepted on this machine.
    pub(crate) fn peers(&self) -> SocketAddr {
        reachable(self.peers)
    }

    /// Waits until it has seen all that lay in its directories at its start, and hears of what happens there. Of a
    /// file that it found then, it can't know that it is still being written.
    pub(crate) fn wait_until_scanned(&self) {
        // Until then a request waits, or is told to come again where it may not.
        wait_for("the first scan", || (self.serve("no such file").status == 404).then_some(()));
    }

    pub(crate) fn get(&self, target: impl Into<String>) -> Response {
        http::get(self.http(), target)
    }

    pub(crate) fn send(&self, request: Request) -> Response {
        request.send(self.http())
    }

    /// Sends a request, and returns once the server has read it: another goes before it in the same packet, and that
    /// is answered. What follows is the answer, to be read whenever the test likes.
    pub(crate) fn begin(&self, target: &str) -> BufReader<TcpStream> {
        let mut stream = BufReader::new(TcpStream::connect(self.http()).expect("it accepts connections"));
        stream.get_mut().set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
        let requests =
            ["/no-such-page", target].map(|target| format!("GET {target} HTTP/1.1\r\nHost: origin\r\n\r\n"));
        stream.get_mut().write_all(requests.concat().as_bytes()).expect("the server reads the request");
        Response::read(&mut stream, false).expect(404);
        stream
    }

    /// What it has logged so far, in whole lines. One that crosses a page of the file gets there in two parts, and who
    /// reads in between sees half of it.
    pub(crate) fn log(&self) -> String {
        let mut log = self.process.stderr();
        log.truncate(log.rfind('\n').map_or(0, |end| end + 1));
        log
    }

    /// Whether its log has these words so far.
    pub(crate) fn has_logged(&self, words: &str) -> bool {
        self.count_logged(words) > 0
    }

    /// How many lines of its log have these words so far.
    pub(crate) fn count_logged(&self, words: &str) -> usize {
        self.log_lines(words).len()
    }

    /// What it has told whoever reads its log as it is by default, as far as these words are in it: lines from INFO up.
    pub(crate) fn told(&self, words: &str) -> Vec<String> {
        let is_told =
            |line: &String| matches!(line.split_whitespace().nth(1), Some("INFO" | "WARN" | "ERROR"));
        self.log_lines(words).into_iter().filter(is_told).collect()
    }

    /// Waits until so many files are served; says how many of them were remembered, and how many hashed.
    #[track_caller]
    pub(crate) fn learned(&self, files: usize) -> (usize, usize) {
        wait_for(&format!("{files} files"), || {
            let log = self.log();
            let remembered = log.matches("serving, as remembered").count();
            let hashed = log.matches("distributor::ingest: serving file=").count();
            (remembered + hashed >= files).then_some((remembered, hashed))
        })
    }

    /// Bytes of memory that are its own: no file lies behind them.
    pub(crate) fn memory(&self) -> u64 {
        self.process.memory()
    }

    /// How much processor time it has taken so far.
    pub(crate) fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_descriptors(&self) -> usize {
        self.process.descriptors()
    }

    /// Lets it open no more files or sockets than it has, or as many as it likes again.
    pub(crate) fn limit_descriptors(&self, limited: bool) {
        self.process.limit_descriptors(if limited { 0 } else { 1024 });
    }

    /// Ends it at once, with no chance to write anything.
    pub(crate) fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait(DEADLINE);
    }

    /// The lines of its log that have these words so far.
    pub(crate) fn log_lines(&self, words: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }

    /// A counter or gauge of `/metrics`, by its name and labels as they stand there; 0 while it isn't there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.get("/metrics").expect(200).sample(name)
    }

    /// `/serve?NAME` with the name percent-encoded.
    pub(crate) fn serve(&self, name: impl AsRef<Path>) -> Response {
        self.get(serve_target(name))
    }

    /// The torrent of a file that must be there.
    #[track_caller]
    pub(crate) fn torrent(&self, name: impl AsRef<Path>) -> Torrent {
        Torrent::read(&self.serve(name).expect(200).body)
    }

    /// See [`Running::freeze`].
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    pub(crate) fn thaw(&self) {
        self.process.thaw();
    }

    /// Ends it by SIGTERM; panics unless it ends well.
    pub(crate) fn stop(self) {
        self.stop_by(Signal::TERM);
    }

    pub(crate) fn stop_by(mut self, signal: Signal) {
        self.process.signal(signal);
        let status = self.process.wait(DEADLINE);
        assert_eq!(status.code(), Some(0), "{status}\n{}", self.process.story());
    }

    /// Has it hear a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it by a signal that it doesn't handle.
    pub(crate) fn end_by(mut self, signal: Signal) {
        self.process.signal(signal);
        let status = self.process.wait(DEADLINE);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}\n{}", self.process.story());
    }

    /// Panics where the process has ended, by SIGBUS for instance.
    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.process.exited() {
            panic!("distributor ended with {status}\n{}", self.process.story());
        }
    }
}

/// `/serve?NAME` for any name.
pub(crate) fn serve_target(name: impl AsRef<Path>) -> String {
    format!("/serve?{}", percent_encode(name.as_ref().as_os_str().as_bytes()))
}

/// An address that stands for all of the machine's, as one of them.
fn reachable(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), addr.port());
    }
    addr
}
