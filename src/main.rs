//! Arguments to a configuration to a server to an exit code.

use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use distributor::cli::{Cli, CliError, Command, Reload, ServeArgs, TorrentArgs, WhereArgs};
use distributor::{MakingTorrent, RateControl, Server, Stderr, TopologyControl};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;
use tracing_subscriber::EnvFilter;

const USAGE: u8 = 2;
/// What is logged unless RUST_LOG says otherwise. That a watch went with its directory is news to notify only.
const DEFAULT_LOG: &str = "info,notify=error";
/// How long a read from a disk that hangs may hold up the end of the process.
const LAST_READS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(CliError::Arguments(help)) if !help.use_stderr() => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let stderr = Stderr::new();
    let log = stderr.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(move || log.clone())
        .init();
    raise_descriptor_limit();

    let result = match cli.command {
        Command::Serve(args) => serve(*args, &stderr),
        Command::Where(args) => return say_where(&args),
        Command::Torrent(args) => make_torrent(&args, &stderr),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: ServeArgs, stderr: &Stderr) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // A hangup ends the process where there is no file to read again.
        let reload = match args.reload() {
            Some(reload) => Some((signal(SignalKind::hangup())?, reload)),
            None => None,
        };
        let server = Server::bind(args.into()).await?;
        if let Some((hangup, reload)) = reload {
            tokio::spawn(reload_at(hangup, reload, server.upload_rates(), server.topology()));
        }
        // Scripts read this line; one that has stopped reading is no reason not to serve.
        let _ = writeln!(
            std::io::stdout(),
            "listening http={} peers={}",
            server.http_addr(),
            server.peers_addr()
        );
        let _showing = stderr.show(server.hashing());
        server
            .run(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            })
            .await?;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_READS);
    result
}

/// Reads the configuration file again whenever it is told to.
async fn reload_at(mut hangup: Signal, mut reload: Reload, rates: RateControl, topology: TopologyControl) {
    while hangup.recv().await.is_some() {
        // It waits for a disk.
        let (rates, topology) = (rates.clone(), topology.clone());
        let reading = tokio::task::spawn_blocking(move || {
            reload.again(&rates, &topology);
            reload
        });
        let Ok(read) = reading.await else { return };
        reload = read;
    }
}

fn say_where(args: &WhereArgs) -> ExitCode {
    let answer = args.answer();
    let _ = writeln!(std::io::stdout(), "{}", answer.text);
    if answer.is_known { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn make_torrent(args: &TorrentArgs, stderr: &Stderr) -> Result<(), Box<dyn std::error::Error>> {
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    let output = args.output.clone().unwrap_or_else(|| {
        let mut name = args.file.file_name().map_or_else(OsString::new, OsString::from);
        name.push(".torrent");
        PathBuf::from(name)
    });
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} exists already; remove it or name another with -o", output.display())
        }
        _ => format!("can't write {}: {error}; name another with -o", output.display()),
    };
    // Said before an hour of hashing.
    if !to_stdout && output.exists() {
        return Err(refused(std::io::ErrorKind::AlreadyExists.into()).into());
    }
    let making = MakingTorrent::start(&args.file, !args.public, &args.hashing())?;
    let showing = stderr.show(making.progress());
    let torrent = making.finish(args.announce_url.as_ref())?;
    drop(showing);
    if to_stdout {
        return Ok(std::io::stdout().write_all(&torrent.bytes)?);
    }
    File::create_new(&output).and_then(|mut file| file.write_all(&torrent.bytes)).map_err(refused)?;
    let _ = writeln!(std::io::stdout(), "{} {}", torrent.info_hash, output.display());
    Ok(())
}

/// Each connection and each file that is being served takes a descriptor; the usual soft limit of 1,024 is soon met.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, "can't raise the limit of open files");
    }
}
