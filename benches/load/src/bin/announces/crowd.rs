//! All hosts on one thread: the loop over those whose answers come or whose time has come, and which part of the run
//! counts.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use distributor_load::{Processes, own_cpu};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::answer::Answer;
use crate::host::{Host, SCRATCH_LEN};
use crate::options::Options;
use crate::question::Swarms;
use crate::report::{Report, Tally};

const EVENTS: usize = 256;
/// How often is looked at what the clock says, at least.
const TICK: Duration = Duration::from_millis(100);
/// Who has no answer after this long counts it as an error, and asks anew.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Crowd<'a> {
    options: &'a Options,
    swarms: Swarms,
    epoll: OwnedFd,
    hosts: Vec<Host>,
    tally: Tally,
    /// When each host is to announce next, where they keep a pace, once that counts.
    due: Option<Vec<Instant>>,
}

impl<'a> Crowd<'a> {
    pub(crate) fn new(options: &'a Options) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            swarms: Swarms::read(&options.hashes)?,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            hosts: (0..options.hosts).map(|at| Host::new(options, at)).collect(),
            tally: Tally::new()?,
            due: None,
        })
    }

    /// Has every host join every swarm, then measures.
    pub(crate) fn run(mut self) -> anyhow::Result<Report> {
        let processes = Processes(self.options.pid.clone());
        let mut scratch = vec![0; SCRATCH_LEN];
        let mut joined = self.options.at_once;
        if !joined {
            self.ask_all()?;
        }
        while !joined {
            self.turn(&mut scratch)?;
            let each = self.swarms.len() as u32;
            joined = self.hosts.iter().all(|host| host.announces >= each);
        }
        self.tally.reset();
        let (start, cpu, own) = (Instant::now(), processes.cpu()?, own_cpu());
        if let Some(pace) = self.options.pace {
            let period = Duration::from_secs_f64(1.0 / pace);
            // They come one after the other, not all in the same moment.
            let apart = |at: u32| period.mul_f64(f64::from(at) / f64::from(self.options.hosts));
            self.due = Some((0..self.options.hosts.into()).map(|at| start + apart(at)).collect());
        } else if self.options.at_once {
            self.ask_all()?;
        }
        while start.elapsed() < self.options.seconds && self.tally.answers() < self.options.announces {
            self.turn(&mut scratch)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let cpu = (processes.cpu()? - cpu).as_secs_f64();
        let cpu = (!self.options.pid.is_empty()).then_some(cpu);
        Ok(self.tally.report(seconds, cpu, (own_cpu() - own).as_secs_f64()))
    }

    fn ask_all(&mut self) -> anyhow::Result<()> {
        for host in &mut self.hosts {
            host.ask(&self.epoll, &self.swarms, Instant::now())?;
        }
        Ok(())
    }

    fn turn(&mut self, scratch: &mut [u8]) -> anyhow::Result<()> {
        let wait = self.ask_those_whose_time_has_come()?;
        let mut events = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::try_from(wait)?)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let host = &mut self.hosts[event.data.u64() as usize];
            if let Some(answer) = host.hear(&self.swarms, scratch)? {
                self.settle(event.data.u64() as usize, answer)?;
            }
        }
        if events.is_empty() {
            self.give_up_on_those_that_wait_too_long()?;
        }
        Ok(())
    }

    /// Says how long nobody's time comes.
    fn ask_those_whose_time_has_come(&mut self) -> anyhow::Result<Duration> {
        let (Some(due), Some(pace)) = (&mut self.due, self.options.pace) else { return Ok(TICK) };
        let period = Duration::from_secs_f64(1.0 / pace);
        let mut wait = TICK;
        for (host, due) in self.hosts.iter_mut().zip(due) {
            if host.asked.is_some() {
                continue;
            }
            let now = Instant::now();
            if *due <= now {
                host.ask(&self.epoll, &self.swarms, *due)?;
                *due += period;
            } else {
                wait = wait.min(*due - now);
            }
        }
        Ok(wait)
    }

    fn settle(&mut self, at: usize, answer: Answer) -> anyhow::Result<()> {
        let host = &mut self.hosts[at];
        let now = Instant::now();
        if let Some(asked) = host.asked.take() {
            self.tally.count(answer, now - asked);
        }
        if self.due.is_none() {
            host.ask(&self.epoll, &self.swarms, now)?;
        }
        Ok(())
    }

    fn give_up_on_those_that_wait_too_long(&mut self) -> anyhow::Result<()> {
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            if host.asked.is_some_and(|asked| asked.elapsed() > PATIENCE) {
                host.give_up();
                self.settle(at, Answer::Wrong)?;
            }
        }
        Ok(())
    }
}
