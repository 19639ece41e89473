"""Outcomes as a table in Markdown, and as JSON."""

import datetime
import json
import math
import os
import statistics
from dataclasses import asdict

HEAD = ["scenario", "client", "origin", "limit s", "first s", "median s", "last s", "last / limit",
        "copies out of the origin", "copies into racks", "waited", ""]


def circumstances(options):
    with open("/proc/cpuinfo", encoding="ascii") as processors:
        names = [line.partition(": ")[2].strip() for line in processors if line.startswith("model name")]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return (f"{today}, {len(names)} x {names[0] if names else 'processor'}, Linux {os.uname().release}, "
            f"TCP {options.congestion}, rounds: {options.rounds}")


def table(results):
    """`results` has a list of outcomes, one a round, by (scenario, client, origin)."""
    rows = [HEAD, ["---"] * len(HEAD)]
    rows += [[*key, *cells(outcomes)] for key, outcomes in results.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cells(outcomes):
    limit = outcomes[0].limit
    finished = [outcome.times() for outcome in outcomes if outcome.times()]
    # Who never has it is later than any.
    last = [math.inf if outcome.stuck() else max(outcome.times(), default=math.inf) for outcome in outcomes]
    racks = zip(*(outcome.copies["into"] for outcome in outcomes))
    return [
        f"{limit:.1f}",
        middle([times[0] for times in finished], 1),
        middle([statistics.median(times) for times in finished], 1),
        middle(last, 1),
        middle([seconds / limit for seconds in last], 2),
        middle([outcome.copies["origin"] for outcome in outcomes], 2),
        " ".join(middle(copies, 2) for copies in racks),
        f"{statistics.median(outcome.waited for outcome in outcomes):.0%}",
        "; ".join(note for outcome in outcomes for note in notes(outcome)),
    ]


def middle(values, digits):
    """The median of the rounds."""
    value = statistics.median(values) if values else math.inf
    return "never" if math.isinf(value) else f"{value:.{digits}f}"


def notes(outcome):
    """What of this round isn't a figure."""
    if outcome.stuck():
        yield f"without the file: {', '.join(outcome.stuck())}"
    if outcome.befell:
        yield outcome.befell


def as_json(results):
    return json.dumps([
        {"scenario": scenario, "client": client, "origin": origin, "rounds": [asdict(outcome) for outcome in outcomes]}
        for (scenario, client, origin), outcomes in results.items()
    ])
