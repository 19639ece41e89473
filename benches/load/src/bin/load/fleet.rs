//! All connections on one thread: the loop over those that are ready, and which part of the run counts.

use std::time::{Duration, Instant};

use anyhow::ensure;
use distributor_load::{Processes, Torrent, own_cpu};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

use crate::connection::Connection;
use crate::options::Options;
use crate::report::{Report, Tally};
use crate::walk::Walk;

/// What is read at once: of a fast seeder some dozen blocks, and small enough to stay in the processor's cache.
const READ_LEN: usize = 512 * 1024;
const EVENTS: usize = 256;
const TICK: Duration = Duration::from_secs(1);

pub(crate) struct Fleet<'a> {
    options: &'a Options,
    torrent: &'a Torrent,
    /// Before the first connection.
    began: Instant,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    tally: Tally,
    processes: Option<Processes>,
    memory_before: Option<u64>,
    memory_most: Option<u64>,
}

/// What is counted from: the clock and what processors had done by then.
struct Start {
    at: Instant,
    seeder: Option<Duration>,
    own: Duration,
}

impl<'a> Fleet<'a> {
    pub(crate) fn connect(options: &'a Options, torrent: &'a Torrent) -> anyhow::Result<Self> {
        let began = Instant::now();
        let processes = (!options.pid.is_empty()).then(|| Processes(options.pid.clone()));
        let memory_before = processes.as_ref().map(Processes::memory).transpose()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections = (0..options.connections)
            .map(|at| Connection::open(options, torrent, &epoll, at))
            .collect::<anyhow::Result<_>>()?;
        let tally = Tally::new()?;
        Ok(Self {
            options,
            torrent,
            began,
            epoll,
            connections,
            tally,
            processes,
            memory_before,
            memory_most: memory_before,
        })
    }

    /// Downloads until the time is over, or everything is there.
    pub(crate) fn run(mut self) -> anyhow::Result<Report> {
        let mut start = None;
        let mut ticked = self.began;
        let mut scratch = vec![0; READ_LEN];
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            let timeout = Timespec::try_from(Duration::from_millis(100))?;
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            for event in &events {
                self.ready(event.data.u64() as usize, event.flags, &mut scratch);
            }
            if now - ticked >= TICK {
                ticked = now;
                self.tick(now)?;
            }
            if start.is_none() && self.counts_from_here(now - self.began)? {
                start = Some(self.start(now)?);
            }
            if let Some(start) = &start
                && self.is_over(now - start.at)
            {
                return self.report(start, now);
            }
        }
    }

    fn counts_from_here(&self, waited: Duration) -> anyhow::Result<bool> {
        let open = self.connections.iter().filter(|connection| connection.socket.is_some()).count();
        ensure!(open > 0, "the seeder closed every connection");
        if self.options.depth == 0 {
            return Ok(waited >= self.options.patience);
        }
        let bringing = self.connections.iter().filter(|connection| connection.bytes > 0).count();
        if self.options.once && bringing > 0 {
            return Ok(true);
        }
        if waited < self.options.patience {
            return Ok(bringing >= open);
        }
        ensure!(bringing > 0, "nothing came for {:?}", self.options.patience);
        Ok(true)
    }

    fn start(&mut self, now: Instant) -> anyhow::Result<Start> {
        if !self.options.once {
            self.tally.reset();
            for connection in &mut self.connections {
                connection.bytes = 0;
            }
        }
        let seeder = self.processes.as_ref().map(Processes::cpu).transpose()?;
        Ok(Start { at: now, seeder, own: own_cpu() })
    }

    fn is_over(&self, ran: Duration) -> bool {
        if self.options.once {
            self.connections
                .iter()
                .all(|connection| connection.socket.is_none() || connection.conversation.is_over())
        } else {
            ran >= self.options.seconds
        }
    }

    fn ready(&mut self, at: usize, flags: EventFlags, scratch: &mut [u8]) {
        let connection = &mut self.connections[at];
        let mut result = Ok(());
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            result = connection.read(self.torrent, scratch, &mut self.tally);
        }
        if result.is_ok() && connection.conversation.is_over() {
            self.share(at);
        }
        let connection = &mut self.connections[at];
        if let Err(error) = result.and_then(|()| connection.write(&self.epoll)) {
            eprintln!("connection {at}: {error:#}");
            // Closing it takes it from epoll.
            connection.socket = None;
        }
    }

    /// Lets a connection that has its part take half of the largest that another has still to ask for: a seeder may
    /// choke some for long.
    fn share(&mut self, at: usize) {
        let walks = self.connections.iter_mut().filter_map(|connection| connection.conversation.walk());
        let part = walks.max_by_key(|walk| walk.left()).filter(|walk| walk.left() > 0).map(Walk::halve);
        let conversation = &mut self.connections[at].conversation;
        if let (Some(part), Some(walk)) = (part, conversation.walk()) {
            *walk = part;
            conversation.tick(self.torrent, Instant::now());
        }
    }

    fn tick(&mut self, now: Instant) -> anyhow::Result<()> {
        self.look_at_memory()?;
        for connection in &mut self.connections {
            connection.conversation.tick(self.torrent, now);
            if connection.socket.is_some() && connection.write(&self.epoll).is_err() {
                connection.socket = None;
            }
        }
        Ok(())
    }

    fn look_at_memory(&mut self) -> anyhow::Result<()> {
        if let Some(processes) = &self.processes {
            self.memory_most = self.memory_most.max(Some(processes.memory()?));
        }
        Ok(())
    }

    fn report(mut self, start: &Start, now: Instant) -> anyhow::Result<Report> {
        self.look_at_memory()?;
        let seconds = (now - start.at).as_secs_f64();
        let gigabytes = self.tally.bytes as f64 / 1e9;
        let cpu = match (&self.processes, start.seeder) {
            (Some(processes), Some(before)) => Some((processes.cpu()? - before).as_secs_f64()),
            _ => None,
        };
        let checked = || self.connections.iter().map(|connection| connection.conversation.checked());
        let count =
            |is: fn(&Connection) -> bool| self.connections.iter().filter(|connection| is(connection)).count();
        Ok(Report {
            connections: self.options.connections,
            idle: count(|connection| connection.bytes == 0) as u32,
            closed: count(|connection| connection.socket.is_none()) as u32,
            depth: self.options.depth,
            waited: (start.at - self.began).as_secs_f64(),
            seconds,
            bytes: self.tally.bytes,
            mb_per_second: self.tally.bytes as f64 / 1e6 / seconds,
            cpu_seconds: cpu,
            p50_ms: self.tally.latency_ms(0.5),
            p99_ms: self.tally.latency_ms(0.99),
            cpu_seconds_per_gb: cpu.map(|cpu| cpu / gigabytes).filter(|figure| figure.is_finite()),
            gb_per_cpu_second: cpu.map(|cpu| gigabytes / cpu).filter(|figure| figure.is_finite()),
            memory_before: self.memory_before,
            memory_most: self.memory_most,
            own_cpu_seconds: (own_cpu() - start.own).as_secs_f64(),
            right_pieces: checked().map(|(right, _)| right).sum(),
            wrong_pieces: checked().map(|(_, wrong)| wrong).sum(),
        })
    }
}
