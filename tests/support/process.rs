//! Processes that can't outlive their test: they are killed when dropped, and by the kernel when the thread that
//! started them ends in any other way. What they write is kept for the message of a test that fails.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::net::Host;
use super::wait_for;

/// A command for a program on this machine, or inside a host of a [`super::net::Net`].
///
/// It gets a clean environment: no proxies, no settings of whoever runs the tests.
pub(crate) fn command(program: impl AsRef<OsStr>, host: Option<&Host>) -> Command {
    let program = program.as_ref();
    require(program);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(host) = host {
        command.args(["ip", "netns", "exec", host.namespace()]);
    }
    command.arg(program).env_clear().env("PATH", search_path()).env("LANG", "C.UTF-8");
    // A group of its own, lest an interrupt at the terminal reach it before the test has cleaned up.
    command.process_group(0);
    command
}

/// Fails the test, and says how to mend that, where a program is not installed.
pub(crate) fn require(program: &OsStr) {
    let found = Path::new(program).is_absolute() && Path::new(program).exists()
        || env::split_paths(&search_path()).any(|directory| directory.join(program).is_file());
    assert!(found, "{} is not installed; `tests/run` installs all that the tests need", program.display());
}

fn search_path() -> String {
    let given = env::var("PATH").unwrap_or_default();
    format!("{given}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// Runs `cp` or `mv`, for what they do is what users do.
pub(crate) fn run(program: &str, from: &Path, to: &Path) {
    let status = Command::new(program).arg(from).arg(to).status().expect("coreutils are there");
    assert!(status.success(), "{program} failed");
}

/// A process under way.
pub(crate) struct Running {
    what: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts it. Its output goes to two files in `directory`.
    pub(crate) fn start(what: &str, command: &mut Command, directory: &Path) -> Self {
        let stdout = directory.join("stdout");
        let stderr = directory.join("stderr");
        let create = |path: &Path| File::create(path).expect("an output file can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("{what} can't be started: {error}"));
        Self { what: what.to_owned(), child, stdout, stderr }
    }

    /// What it has printed so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has logged so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Both outputs, for the message of a failure. Only their ends: some clients draw a progress bar.
    pub(crate) fn story(&self) -> String {
        let end = |text: String| {
            let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
            lines[lines.len().saturating_sub(60)..].join("\n")
        };
        format!(
            "--- {} printed\n{}\n--- and logged\n{}\n---",
            self.what,
            end(self.stdout()),
            end(self.stderr())
        )
    }

    /// RssAnon of the process, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux says so");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024
    }

    /// How much processor time it has taken, to a hundredth of a second.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it is alive");
        // The name stands in parentheses and may hold anything; what follows it begins with the third field.
        let (_, fields) = stat.rsplit_once(')').expect("Linux says so");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // In user space and in the kernel, fields 14 and 15, in units of which Linux has 100 a second for user space.
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it is alive").count()
    }

    /// Sets how many open files the process may come to from now on.
    pub(crate) fn limit_descriptors(&self, count: u64) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // The program has raised it as far as it goes; the hard limit is the test's own.
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        prlimit(id, Resource::Nofile, Rlimit { current: Some(count), maximum })
            .unwrap_or_else(|error| panic!("{} can't be limited: {error}", self.what));
    }

    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits until it ends by itself; panics when it doesn't.
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        self.wait_until(deadline, Self::exited)
    }

    /// Waits until `done` has an answer; panics when none comes.
    pub(crate) fn wait_until<T>(
        &mut self,
        deadline: Duration,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let end = Instant::now() + deadline;
        loop {
            if let Some(answer) = done(self) {
                return answer;
            }
            if Instant::now() >= end {
                panic!("{} wasn't done after {deadline:?}\n{}", self.what, self.story());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it where it stands. Each thread stops when the system next runs it, which on a busy machine is not at once.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        wait_for("all threads to stand still", || self.is_frozen().then_some(()));
    }

    fn is_frozen(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state follows the name, which may have anything in it.
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }

    /// Lets it go on from where it was frozen.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(id, signal).unwrap_or_else(|error| panic!("{} can't be signalled: {error}", self.what));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.story());
        }
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
