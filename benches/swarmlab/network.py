"""Racks of hosts and the links between them: network namespaces, joined by veth, slowed by `tc tbf`. Knows nothing of
what the hosts do.

    origin ── core ──┬── rack 1 ──┬── host 1-1
                     │            └── host 1-2 ...
                     └── rack 2 ── ...

A rack is a namespace with a bridge, and a /24: host H of rack R is 10.77.R.H, the origin 10.77.0.1. The core routes
between them. Each end of a link shapes what it sends, so that every link has its rate both ways. Namespaces are named
as in the picture; they are in a mount namespace of this program's own (see `benches/swarm`).
"""

import json
import subprocess
from dataclasses import dataclass

# How long a packet may wait for a link: what drops beyond that is what keeps TCP's queues short.
LATENCY = "50ms"
# A link may catch up on so much of the time in which the machine had no processor for it.
BURST_SECONDS = 0.01
# Packets are sent in bundles of so many, which costs a quarter of what single ones do; bigger ones would be bursts.
SEGMENTS = 4
# What a packet with TCP's time stamps has beside its payload: Ethernet, IPv4, TCP.
HEADERS = 14 + 20 + 32
# Racks and hosts are numbers in addresses; .254 is the core's.
MAX_RACKS, MAX_HOSTS = 250, 250


@dataclass(frozen=True)
class Host:
    rack: int
    number: int

    @property
    def namespace(self):
        return f"host{self.rack}-{self.number}" if self.rack else "origin"

    @property
    def address(self):
        return f"10.77.{self.rack}.{self.number}"


ORIGIN = Host(0, 1)


@dataclass(frozen=True)
class Plan:
    """How many there are, and rates in Mbit/s, both ways; None for an uplink without a limit."""

    racks: int
    hosts: int
    origin: float
    uplink: float | None
    host: float
    # These hosts have another rate.
    odd: dict

    def all_hosts(self):
        """Rack by rack."""
        return [Host(rack, number) for rack in self.rack_numbers() for number in range(1, self.hosts + 1)]

    def rack_numbers(self):
        return range(1, self.racks + 1)


class Network:
    """What a plan says, until `close`."""

    def __init__(self, plan, congestion):
        self.plan = plan
        self.congestion = congestion
        self._namespaces = []
        self._build()

    def _build(self):
        plan = self.plan
        self._add_namespace("core")
        self._add_host(ORIGIN, "core", "origin", plan.origin)
        core = ["addr add 10.77.0.254/24 dev origin"]
        for rack in plan.rack_numbers():
            name = f"rack{rack}"
            self._add_namespace(name)
            ip(f"link add name {name} netns core type veth peer name core netns {name}")
            ip("link add name bridge type bridge mcast_snooping 0", "link set bridge up",
               "link set core master bridge", namespace=name)
            core.append(f"addr add 10.77.{rack}.254/24 dev {name}")
            self._open("core", name, plan.uplink)
            self._open(name, "core", plan.uplink)
        for host in plan.all_hosts():
            name = f"rack{host.rack}"
            self._add_host(host, name, f"port{host.number}", plan.odd.get(host, plan.host))
            ip(f"link set port{host.number} master bridge", namespace=name)
        ip(*core, namespace="core")
        sysctl("core", "net.ipv4.ip_forward=1")

    def _add_host(self, host, switch, port, rate):
        """A host with its link to a port of `switch`."""
        name = host.namespace
        self._add_namespace(name)
        ip(f"link add name eth0 netns {name} type veth peer name {port} netns {switch}")
        self._open(name, "eth0", rate)
        self._open(switch, port, rate)
        # As a property of routes: a namespace other than the first may not choose from all that there are.
        congestion = f"congctl {self.congestion}"
        ip("link set lo up", f"addr add {host.address}/24 dev eth0",
           f"route replace 10.77.{host.rack}.0/24 dev eth0 src {host.address} {congestion}",
           f"route add default via 10.77.{host.rack}.254 {congestion}", namespace=name)

    def _add_namespace(self, name):
        ip(f"netns add {name}")
        self._namespaces.append(name)
        # Nothing here has IPv6, and nobody needs to ask whether somebody has.
        sysctl(name, "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")

    @staticmethod
    def _open(namespace, device, rate):
        """Sets a device up that sends at `rate`."""
        ip(f"link set {device} gso_max_segs {SEGMENTS} up", namespace=namespace)
        if rate is None:
            # For its counters.
            queue = "pfifo limit 1000"
        else:
            burst = max(2 * SEGMENTS * 1514, int(rate * 1e6 / 8 * BURST_SECONDS))
            queue = f"tbf rate {round(rate * 1e6)}bit burst {burst} latency {LATENCY}"
        command(["tc", "-n", namespace, "qdisc", "add", "dev", device, "root", *queue.split()])

    def payload(self):
        """Bytes of TCP's payload, again-sent ones included, that passed links so far: out of the origin, into each rack
        and out of each."""
        core = sent("core")
        racks = self.plan.rack_numbers()
        return {
            "origin": sent(ORIGIN.namespace)["eth0"],
            "into": [core[f"rack{rack}"] for rack in racks],
            "out": [sent(f"rack{rack}")["core"] for rack in racks],
        }

    def close(self):
        for name in self._namespaces:
            command(["ip", "netns", "delete", name])


def sent(namespace):
    """The payload that each device has sent, by what its queue counted after it had let it go. Packets without
    payload count for nothing, and so do the few beside TCP's."""
    shown = command(["tc", "-statistics", "-json", "-n", namespace, "qdisc", "show"])
    return {queue["dev"]: max(queue["bytes"] - HEADERS * queue["packets"], 0)
            for queue in json.loads(shown) if "bytes" in queue}


def received_and_sent(process):
    """Bytes, headers included, that passed `eth0` of the host on which this process runs; None if it is gone."""
    try:
        with open(f"/proc/{process}/net/dev", encoding="ascii") as devices:
            for line in devices:
                name, _, counters = line.partition(":")
                if name.strip() == "eth0":
                    counters = counters.split()
                    return int(counters[0]), int(counters[8])
    except OSError:
        pass
    return None


def inside(host, program):
    """The command line that runs `program` on a host."""
    return ["nsenter", f"--net=/run/netns/{host.namespace}", *program]


def ip(*lines, namespace=None):
    options = ["-n", namespace] if namespace else []
    command(["ip", *options, "-batch", "-"], "\n".join(lines) + "\n")


def sysctl(namespace, *settings):
    command(["ip", "netns", "exec", namespace, "sysctl", "-qw", *settings])


def command(line, text=""):
    done = subprocess.run(line, input=text, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(line)} {text}: {done.stderr}")
    return done.stdout
