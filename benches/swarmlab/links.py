"""Whether links are what they are said to be: one TCP connection across each kind, alone."""

import asyncio

from .clients import HERE, PYTHON
from .network import ORIGIN, Network, Plan
from .process import Process

SECONDS = 3
# Of a link's rate, the share that is payload: a segment's 1,448 bytes of the 1,514 that are sent.
PAYLOAD = 1448 / 1514
# A measured rate may differ by so much.
TOLERANCE = 0.03


async def measured(mbit, congestion, home):
    """By what it goes from where to where, the Mbit/s of payload that passed."""
    network = Network(Plan(racks=2, hosts=1, origin=mbit, uplink=mbit, host=mbit, odd={}), congestion)
    try:
        one, other = network.plan.all_hosts()
        ways = [(ORIGIN, one), (one, ORIGIN), (one, other)]
        return {f"{sender.namespace} to {receiver.namespace}": await transfer(sender, receiver, home)
                for sender, receiver in ways}
    finally:
        network.close()


async def transfer(sender, receiver, home):
    script = [PYTHON, "-I", f"{HERE}/transfer.py", receiver.address]
    receiving = await Process.start(receiver, script, home, ["listening", "took"])
    await receiving.said["listening"]
    sending = await Process.start(sender, [*script, str(SECONDS)], home)
    took = await receiving.said["took"]
    await asyncio.gather(receiving.end(), sending.end())
    return float(took.text.split()[1])


def complaint(measured_mbit, mbit):
    """What is wrong with them, or nothing."""
    due = mbit * PAYLOAD
    wrong = [f"{way} {rate:.1f}" for way, rate in measured_mbit.items() if abs(rate / due - 1) > TOLERANCE]
    return f"links of {mbit} Mbit/s should move {due:.1f} Mbit/s of payload, but: {', '.join(wrong)}" if wrong else ""
