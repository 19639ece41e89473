"""What happens in a swarm: how many hosts there are, how fast their links are, when they come and what befalls them.
All that a run is told, and nothing of how it is done."""

from dataclasses import dataclass, replace

from .network import Host, Plan

# Of each rack's hosts, so many are killed.
KILLED = 1 / 3
# In `fast`, all but one host have this share of the rate.
SLOW = 1 / 4


@dataclass(frozen=True)
class Scenario:
    about: str
    mib: int = 144
    racks: int = 4
    hosts: int = 6
    mbit: float = 24
    thin_uplinks: bool = True
    # Seconds from one host's start to the next one's.
    join_every: float = 0
    # Whether hosts end their client when it has the file.
    leave: bool = False
    # Whether one host, the first of the first rack, is faster than the others.
    one_fast: bool = False
    # What happens when the median host has received half of the file: "kill" or "restart".
    halfway: str = ""

    def plan(self):
        host = self.mbit * SLOW if self.one_fast else self.mbit
        return Plan(racks=self.racks, hosts=self.hosts, origin=self.mbit,
                    uplink=self.mbit if self.thin_uplinks else None,
                    host=host, odd={Host(1, 1): self.mbit} if self.one_fast else {})

    def limit(self):
        """The seconds in which a fluid would have reached the last host."""
        last_joins = (self.racks * self.hosts - 1) * self.join_every
        slowest = self.mbit * SLOW if self.one_fast and self.racks * self.hosts > 1 else self.mbit
        return last_joins + (self.mib << 20) * 8 / (slowest * 1e6)

    def memory(self):
        """The MiB that files take: a copy for each host, two origins' ones."""
        return self.mib * (self.racks * self.hosts + 2)

    def but(self, **changes):
        """The same with those of the changes that aren't None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def small(self):
        """As little as shows that it works."""
        return replace(self, racks=min(self.racks, 2), hosts=min(self.hosts, 2), mib=4, mbit=100)


SCENARIOS = {
    "thin": Scenario("every link has the same rate"),
    "unlimited": Scenario("racks' uplinks have no limit", mib=96, thin_uplinks=False),
    "join": Scenario("one host after another joins, one a second", join_every=1),
    "kill": Scenario("a third of each rack's hosts is killed half way: those that have most", halfway="kill"),
    "restart": Scenario("the origin is stopped half way and started again", halfway="restart"),
    "leave": Scenario("hosts leave when they have the file", leave=True),
    "one": Scenario("a single host", racks=1, hosts=1),
    "two": Scenario("two hosts of one rack", racks=1, hosts=2),
    "fast": Scenario("hosts have a quarter of the rate, but for one", mib=48, one_fast=True),
}
