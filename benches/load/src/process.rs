//! What the kernel says of the processes that are measured: the processor time they took and the memory that is theirs
//! alone.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Processes that are measured, by their numbers.
#[derive(Clone, Debug)]
pub struct Processes(pub Vec<i32>);

impl Processes {
    /// Processor time since they began, in user space and in the kernel.
    ///
    /// # Errors
    ///
    /// When one of them has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut ticks = 0;
        for pid in &self.0 {
            let stat = read(*pid, "stat")?;
            // The name, in brackets, may hold anything. Then come the state (3 in proc_pid_stat(5)) and the rest:
            // utime is 14, stime 15.
            let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
            let times = fields.split_whitespace().skip(14 - 3).take(2);
            ticks += times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        }
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Bytes of private memory (RssAnon): what is mapped of files is the page cache's.
    ///
    /// # Errors
    ///
    /// When one of them has ended.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for pid in &self.0 {
            let status = read(*pid, "status")?;
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no RssAnon")?;
            bytes += kib.parse::<u64>()? * 1024;
        }
        Ok(bytes)
    }
}

fn read(pid: i32, name: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).with_context(|| format!("{path} can't be read: has it ended?"))
}

/// Processor time of this process, in user space and in the kernel.
pub fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
