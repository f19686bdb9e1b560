"""What is done to whom, and in which order: a pure function of the seed. How it is done stands in faults.py.

Kinds are dealt from a shuffled deck, so that each comes up before any comes up twice. A step holds one of them, or two
that do not get in each other's way; `huge` starts a transaction of 100,000 rows a moment before.
"""
import dataclasses
import random

# kind: (target, shortest, longest duration in seconds)
_RELAY = {
    "relay.sigkill": ("relay", 0.0, 1.0),
    "relay.sigterm": ("relay", 0.0, 1.0),
    "relay.zombie": ("relay", 1.0, 3.0),
    "kafka_link.hold_end_txn": ("kafka_link", 0.2, 3.0),  # its client is cut off, the broker gets it later
    "kafka_link.late_end_txn": ("kafka_link", 0.2, 3.0),  # its client waits
    "kafka_link.unanswered_end_txn": ("kafka_link", 0.0, 0.5),  # the broker gets it, its client no answer
}

# Of the members of a group, those who leave come back when it is over.
_INBOX = {
    "inbox.sigkill": ("inbox", 0.0, 2.0),
    "inbox.sigkill_two": ("inbox", 0.0, 1.0),
    "inbox.sigkill_all": ("inbox", 0.0, 1.0),
    "inbox.sigterm": ("inbox", 0.0, 2.0),
    "inbox.join": ("inbox", 1.0, 4.0),
    "inbox.zombie": ("inbox", 3.0, 5.0),  # beyond their session time-out
    "postgres.backend_sigkill": ("postgres", 0.0, 0.5),  # the server then restarts all of them
    "postgres.end_sessions": ("postgres", 0.0, 0.5),
}

_SERVERS = {
    "broker.sigkill": ("broker", 0.0, 1.5),
    "broker.freeze": ("broker", 0.5, 6.0),
    "postgres.immediate": ("postgres", 0.0, 1.0),
    "postgres.fast": ("postgres", 0.0, 1.0),
    "postgres_link.cut": ("postgres_link", 0.0, 0.5),
    "postgres_link.delay": ("postgres_link", 1.0, 3.0),
    "postgres_link.blackhole": ("postgres_link", 1.0, 7.0),
    "kafka_link.cut": ("kafka_link", 0.0, 0.5),
    "kafka_link.delay": ("kafka_link", 1.0, 3.0),
    "kafka_link.blackhole": ("kafka_link", 1.0, 6.0),
}

# By what is tried: the relay, the inbox, or both in a row.
KINDS = {"relay": _RELAY | _SERVERS, "inbox": _INBOX | _SERVERS, "both": _RELAY | _INBOX | _SERVERS}
MEMBERS = 3

# Beyond librdkafka's socket timeout, now and then.
LONG = {"broker.freeze": (11.0, 14.0), "kafka_link.blackhole": (11.0, 14.0), "kafka_link.late_end_txn": (11.0, 14.0)}

# A server that is down cannot be told to end a backend; a zombie needs one that runs.
EXCLUDE = {frozenset(("relay", "postgres")), frozenset(("relay", "postgres_link"))}


@dataclasses.dataclass(frozen=True)
class Fault:
    kind: str
    target: str
    seconds: float
    arguments: tuple = ()  # pairs


@dataclasses.dataclass(frozen=True)
class Step:
    number: int
    faults: tuple
    apart: float  # seconds between the starts of two faults
    huge: bool
    calm: float  # seconds of peace afterwards
    settle: bool  # wait until walferry has caught up: the end of a deck

    def __str__(self):
        faults = " + ".join(f"{f.kind} {f.seconds:.2f}s" + "".join(f" {k}={v}" for k, v in f.arguments)
                            for f in self.faults)
        return (f"step {self.number}: {'huge, ' if self.huge else ''}{faults}, calm {self.calm:.2f}s"
                + (", settle" if self.settle else ""))


def steps(seed, tried="relay"):
    """All steps of a seed, without end."""
    rng = random.Random(f"walferry/{seed}")
    kinds = KINDS[tried]
    number = 0
    while True:
        deck = sorted(kinds)
        rng.shuffle(deck)
        while deck:
            number += 1
            faults = [_fault(rng, kinds, deck.pop())]
            if rng.random() < 0.3:
                second = next((k for k in deck if _go_together(faults[0].target, kinds[k][0])), None)
                if second is not None:
                    deck.remove(second)
                    faults.append(_fault(rng, kinds, second))
            yield Step(number=number, faults=tuple(faults), apart=round(rng.uniform(0, 0.5), 3), huge=rng.random() < 0.2,
                       calm=round(rng.choice((0.2, 1.0, 2.5)) * rng.uniform(0.5, 1.0), 3), settle=not deck)


def _go_together(one, other):
    return one != other and frozenset((one, other)) not in EXCLUDE


def _fault(rng, kinds, kind):
    target, shortest, longest = kinds[kind]
    if kind in LONG and rng.random() < 0.15:
        shortest, longest = LONG[kind]
    arguments = ()
    if kind.endswith(".delay"):
        arguments = (("delay", round(rng.uniform(0.01, 0.2), 3)),)
    elif kind == "relay.zombie":
        arguments = (("then", rng.choice(("zombie_is_killed", "zombie_is_stopped", "successor_is_killed"))),)
    elif kind in ("inbox.sigkill", "inbox.sigkill_two", "inbox.sigterm"):
        arguments = (("first", rng.randrange(MEMBERS)),)
    elif kind == "inbox.zombie":
        arguments = (("first", rng.randrange(MEMBERS)), ("then", rng.choice(("goes_on", "is_killed", "is_stopped"))))
    return Fault(kind=kind, target=target, seconds=round(rng.uniform(shortest, longest), 3), arguments=arguments)
