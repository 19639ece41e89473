//! Networks of their own for tests that need an address for each client: hosts are network namespaces, joined by a
//! bridge that lies in a namespace too, so that nothing of the machine's own network is touched and every test can
//! use the same addresses.
//!
//! Host 0 is the origin and resolves as `origin` on all of them.

use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::require;

/// All namespaces that tests make are called so, then the test's process id, a number and the host's number.
const PREFIX: &str = "distributor-test-";

/// Some hosts on one link. All of it is taken down when dropped.
pub(crate) struct Net {
    switch: String,
    hosts: Vec<Host>,
}

/// One machine of a [`Net`].
pub(crate) struct Host {
    namespace: String,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// Which addresses a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    V6,
    Both,
}

/// How IPv6 addresses begin that mean nothing elsewhere (RFC 4193), and such as the Internet has (RFC 3849).
const LOCAL_PREFIX: [u16; 2] = [0xfd69, 0];
const GLOBAL_PREFIX: [u16; 2] = [0x2001, 0xdb8];

/// For which of its addresses the origin's name stands on a host that could reach several.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    OneAddress,
    AllAddresses,
}

impl Net {
    /// Hosts that have an IPv4 and an IPv6 address each.
    pub(crate) fn new(hosts: u8) -> Self {
        Self::build(&vec![Families::Both; hosts.into()], LOCAL_PREFIX, Name::OneAddress)
    }

    /// Hosts that have an IPv6 address only.
    pub(crate) fn v6_only(hosts: u8) -> Self {
        Self::build(&vec![Families::V6; hosts.into()], LOCAL_PREFIX, Name::OneAddress)
    }

    /// Hosts that have an IPv6 address only, one such as the Internet has, and a route to all of it.
    pub(crate) fn v6_global(hosts: u8) -> Self {
        let net = Self::build(&vec![Families::V6; hosts.into()], GLOBAL_PREFIX, Name::OneAddress);
        for host in &net.hosts {
            ip(&["-6", "-n", &host.namespace], "route add default dev eth0\n");
        }
        net
    }

    /// Hosts that have these addresses, the origin first. Its name stands for all of its addresses that they can reach.
    pub(crate) fn of(hosts: &[Families]) -> Self {
        Self::build(hosts, LOCAL_PREFIX, Name::AllAddresses)
    }

    fn build(hosts: &[Families], [first, second]: [u16; 2], name_stands_for: Name) -> Self {
        let v6 = |n: u8| Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, n.into());
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{PREFIX}{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let hosts = (1..=u8::MAX)
            .zip(hosts)
            .map(|(n, families)| Host {
                namespace: format!("{name}-{n}"),
                v4: (*families != Families::V6).then_some(Ipv4Addr::new(10, 69, 69, n)),
                v6: (*families != Families::V4).then(|| v6(n)),
            })
            .collect();
        // Owned before it is made: whatever fails on the way, what was made is taken down.
        let net = Self { switch: format!("{name}-switch"), hosts };

        let mut machines = format!("netns add {}\n", net.switch);
        let mut ports = "link add name sw0 type bridge mcast_snooping 0\nlink set sw0 up\n".to_owned();
        for (n, host) in net.hosts.iter().enumerate() {
            let (namespace, switch) = (&host.namespace, &net.switch);
            machines += &format!("netns add {namespace}\n");
            machines +=
                &format!("link add name eth0 netns {namespace} type veth peer name p{n} netns {switch}\n");
            ports += &format!("link set p{n} master sw0 up\n");
        }
        ip(&[], &machines);
        ip(&["-n", &net.switch], &ports);
        for host in &net.hosts {
            let names = Path::new("/etc/netns").join(&host.namespace);
            let origin: String = match name_stands_for {
                Name::OneAddress => format!("{} origin\n", net.origin().address()),
                Name::AllAddresses => {
                    net.origin().addresses_for(host).map(|ip| format!("{ip} origin\n")).collect()
                }
            };
            fs::create_dir_all(&names).expect("/etc/netns can be written to");
            fs::write(names.join("hosts"), format!("127.0.0.1 localhost\n::1 localhost\n{origin}"))
                .expect("/etc/netns can be written to");
            let v4 = host.v4.map(|v4| format!("addr add {v4}/24 dev eth0\n")).unwrap_or_default();
            let v6 = match host.v6 {
                // Without duplicate address detection, which holds an address back for a second.
                Some(v6) => format!("addr add {v6}/64 dev eth0 nodad\n"),
                // Nor one that the link would give itself.
                None => "link set eth0 addrgenmode none\n".to_owned(),
            };
            ip(&["-n", &host.namespace], &format!("link set lo up\n{v4}{v6}link set eth0 up\n"));
        }
        net
    }

    pub(crate) fn origin(&self) -> &Host {
        &self.hosts[0]
    }

    /// All hosts but the origin.
    pub(crate) fn others(&self) -> &[Host] {
        &self.hosts[1..]
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in &self.hosts {
            remove(&host.namespace);
        }
        remove(&self.switch);
    }
}

impl Host {
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its IPv4 address where it has one.
    pub(crate) fn address(&self) -> IpAddr {
        self.v4.map_or_else(|| self.v6().into(), IpAddr::V4)
    }

    /// The IPv6 address that it must have.
    pub(crate) fn v6(&self) -> Ipv6Addr {
        self.v6.expect("a host with an IPv6 address")
    }

    /// Where another host can reach it.
    fn addresses_for(&self, other: &Self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.filter(|_| other.v4.is_some()).map(IpAddr::V4);
        let v6 = self.v6.filter(|_| other.v6.is_some()).map(IpAddr::V6);
        v4.into_iter().chain(v6)
    }

    /// Where a host of this network reaches it.
    pub(crate) fn address_for(&self, other: &Self) -> IpAddr {
        self.addresses_for(other).next().expect("both have addresses of one family")
    }

    /// One more address, beside those by which it is known.
    pub(crate) fn add_address(&self, ip: IpAddr) {
        // Without duplicate address detection, which holds an address back for a second.
        let (prefix, nodad) = if ip.is_ipv4() { (24, "") } else { (64, "nodad") };
        self::ip(&["-n", &self.namespace], &format!("addr add {ip}/{prefix} dev eth0 {nodad}\n"));
    }

    /// Does `work` in this host's network, on a thread of its own. Sockets made there stay there; processes are
    /// better started with [`super::process::command`], for they would die with that thread.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            let namespace = File::open(Path::new("/run/netns").join(&self.namespace))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok::<_, std::io::Error>(())
        };
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                enter().unwrap_or_else(|error| panic!("can't enter {}: {error}", self.namespace));
                work()
            });
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

/// Runs lines of `ip` commands.
fn ip(options: &[&str], lines: &str) {
    require("ip".as_ref());
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip can be run");
    child
        .stdin
        .take()
        .expect("its input is a pipe")
        .write_all(lines.as_bytes())
        .expect("ip reads its commands");
    let output = child.wait_with_output().expect("ip ends");
    assert!(
        output.status.success(),
        "network namespaces can't be made (they need root: `tests/run` sees to it): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn remove(namespace: &str) {
    // Nothing to be done about a failure but to leave it to the next run's sweep.
    let _ = Command::new("ip").args(["netns", "delete", namespace]).stderr(Stdio::null()).status();
    let _ = fs::remove_dir_all(Path::new("/etc/netns").join(namespace));
}

/// Removes what test processes left that were killed.
fn sweep() {
    for directory in ["/run/netns", "/etc/netns"] {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(owner) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else {
                continue;
            };
            if !PathBuf::from("/proc").join(owner).exists() {
                remove(&name);
            }
        }
    }
}
