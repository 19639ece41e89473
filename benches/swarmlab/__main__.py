"""What is run, in which order, and where its figures go. Started by `benches/swarm`, in namespaces of its own."""

import asyncio
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from . import links, report
from .material import Material
from .options import arguments
from .origins import ORIGINS
from .run import Run
from .scenarios import SCENARIOS

LOCK = "/run/distributor-swarm.lock"
NICE = -20


def mount(directory):
    """Memory as a directory's contents, which is gone with the last of this program's processes."""
    directory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=95%", "swarm", str(directory)], check=True)


def wait_for_others():
    """Two at once would measure each other. Held until this process ends."""
    lock = open(LOCK, "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another swarm to end", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def take_precedence():
    """A swarm needs little of the processors (a quarter of one at 24 Mbit/s), but that at once: it goes before whatever
    else the machine is busy with. Where the kernel schedules sessions, by its session, which is one of its own then."""
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with suppress(FileNotFoundError):
        Path("/proc/self/autogroup").write_text(str(NICE), encoding="ascii")


def scenario_of(name, options):
    scenario = SCENARIOS[name]
    if options.small:
        scenario = scenario.small()
    return scenario.but(racks=options.racks, hosts=options.hosts, mib=options.mib, mbit=options.mbit)


async def check_links(rates, place, congestion):
    for mbit in sorted(rates):
        measured = await links.measured(mbit, congestion, place)
        for way, rate in measured.items():
            print(f"{way}: {rate:.1f} Mbit/s of payload by links of {mbit:g}", file=sys.stderr)
        if complaint := links.complaint(measured, mbit):
            print(complaint, file=sys.stderr)


async def measure(scenarios, place, options, flags):
    """Outcomes, one a round, by scenario, client and origin."""
    materials = {mib: Material(place / f"{mib}-mib", mib) for mib in {scenario.mib for scenario in scenarios.values()}}
    results = {}
    todo = itertools.product(range(options.rounds), scenarios, options.clients, options.origins)
    for _, name, client, origin in todo:
        scenario, key, home = scenarios[name], (name, client, origin), place / "run"
        (home / "origin").mkdir(parents=True)
        giver = ORIGINS[origin](materials[scenario.mib], home / "origin", flags)
        run = Run(scenario, client, giver, materials[scenario.mib], home, options.congestion)
        outcome = await run.outcome()
        results.setdefault(key, []).append(outcome)
        print("  ".join([*key, *report.cells([outcome])]), file=sys.stderr)
        # After each, as the last may be long in coming.
        if options.json:
            options.json.write_text(report.as_json(results))
        if options.logs:
            shutil.copytree(home, options.logs / "-".join(key), dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("files", "state"))
        shutil.rmtree(home)
    return results


async def bench(place, options, flags):
    """Says whether this program served everybody."""
    scenarios = {name: scenario_of(name, options) for name in options.scenarios or ["thin"]}
    require_memory(max(scenario.memory() for scenario in scenarios.values()))
    await check_links({scenario.mbit for scenario in scenarios.values()}, place, options.congestion)
    results = await measure(scenarios, place, options, flags)
    print(report.circumstances(options))
    print()
    print(report.table(results))
    ours = [outcomes for (_, _, origin), outcomes in results.items() if origin == "distributor"]
    return not any(outcome.stuck() for outcome in itertools.chain(*ours))


def require_memory(mib):
    with open("/proc/meminfo", encoding="ascii") as figures:
        available = next(int(line.split()[1]) for line in figures if line.startswith("MemAvailable:")) >> 10
    if mib > available:
        sys.exit(f"the files of all hosts take {mib} MiB of memory, of which {available} MiB are left: "
                 "choose fewer hosts, or a smaller file by --mib")


def main():
    place, options, flags = arguments(sys.argv[1:])
    lock = wait_for_others()
    take_precedence()
    mount(place)
    # Where `ip` keeps the names of namespaces.
    mount(Path("/run/netns"))
    served_all = asyncio.run(bench(place, options, flags))
    lock.close()
    sys.exit(0 if served_all else 1)


main()
