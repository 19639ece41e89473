//! Arguments to a configuration to a server to an exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use distributor::cli::{self, Cli, Command};
use distributor::{Config, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;
use tracing_subscriber::EnvFilter;

const USAGE: u8 = 2;
/// What is logged unless RUST_LOG says otherwise. That a watch went with its directory is news to notify only.
const DEFAULT_LOG: &str = "info,notify=error";
/// How long a read from a disk that hangs may hold up the end of the process.
const LAST_READS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) if !help.use_stderr() => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}", cli::usage_sentence(&error));
            return ExitCode::from(USAGE);
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    raise_descriptor_limit();

    let Command::Serve(args) = cli.command;
    match run(args.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::bind(config).await?;
        // Scripts read this line; one that has stopped reading is no reason not to serve.
        let _ = writeln!(
            std::io::stdout(),
            "listening http={} peers={}",
            server.http_addr(),
            server.peers_addr()
        );
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

/// Each connection and each file that is being served takes a descriptor; the usual soft limit of 1,024 is soon met.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, "can't raise the limit of open files");
    }
}
