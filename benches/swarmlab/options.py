"""What the caller may ask for on the command line, checked."""

import argparse
from pathlib import Path

from .clients import COMMANDS, MIXED
from .network import MAX_HOSTS, MAX_RACKS
from .origins import ORIGINS
from .scenarios import SCENARIOS


def arguments(given):
    """The directory for all that is written, the options, and the flags of this program's."""
    scenarios = "\n".join(f"  {name:<12}{scenario.about}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="benches/swarm", formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [SCENARIO...] [OPTIONS] [-- FLAGS OF `distributor serve`]",
        epilog=f"scenarios:\n{scenarios}")
    parser.add_argument("scenarios", nargs="*", type=name_of(SCENARIOS), metavar="SCENARIO",
                        help="see below; `thin` if none is named")
    parser.add_argument("--clients", type=names_of([*COMMANDS, MIXED]), default=["aria2", "libtorrent"],
                        metavar="NAME,...", help="aria2, libtorrent, transmission, or `mixed`: each on a third")
    parser.add_argument("--origins", type=names_of(ORIGINS), default=list(ORIGINS), metavar="NAME,...",
                        help="distributor, opentracker (which comes with libtorrent as a seed)")
    parser.add_argument("--racks", type=between(1, MAX_RACKS), metavar="N", help="so many racks")
    parser.add_argument("--hosts", type=between(1, MAX_HOSTS), metavar="N", help="so many hosts in each")
    parser.add_argument("--mib", type=between(1, 1 << 20), metavar="N", help="the file's size")
    parser.add_argument("--mbit", type=rate_of_links, metavar="RATE", help="the links' rate, both ways")
    parser.add_argument("--rounds", type=between(1, 100), default=1, metavar="N",
                        help="so many of each; figures are medians")
    parser.add_argument("--small", action="store_true", help="2 racks of 2 hosts, 4 MiB, 100 Mbit/s")
    parser.add_argument("--congestion", default="cubic", metavar="NAME",
                        help="how TCP avoids congestion, as the kernel calls it")
    parser.add_argument("--json", type=Path, metavar="FILE",
                        help="write all outcomes, with what hosts had received and sent five times a second")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep what all programs said, as of the last round")
    place, *rest = given
    before = rest.index("--") if "--" in rest else len(rest)
    return Path(place), parser.parse_args(rest[:before]), rest[before + 1:]


def name_of(known):
    def name(text):
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(known)}")
        return text
    return name


def names_of(known):
    return lambda text: [name_of(known)(name) for name in text.split(",")]


def between(least, most):
    def number(text):
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"from {least} to {most}")
        return int(text)
    return number


def rate_of_links(text):
    # Below that a burst is longer than a queue may be, and beyond it the machine doesn't keep up.
    if not 1 <= float(text) <= 10_000:
        raise argparse.ArgumentTypeError("from 1 to 10000")
    return float(text)
