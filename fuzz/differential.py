"""The decoder and the encoder against two other implementations.

Every stream goes through our decoder cut, whole, and received directly, which must all agree with
each other and with `reference.OURS`. `websockets` and `wsproto` must agree too, or differ exactly
as their dialects in `reference` say, for a reason that has a name; such differences are counted.
What remains is a finding: it is made small, written to `fuzz/findings/`, and fails the run.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

import click
from rich.console import Console
from rich.table import Table

from fuzz import oracles
from fuzz.keeping import FINDINGS, HERE, PROGRESS, Writable, recorder
from fuzz.reference import CLOSE, WEBSOCKETS, WSPROTO, Event, Fault, Limits, Reading, read
from fuzz.streams import Case, framing, payload_size, random_case, text
from wsgroups.codec.frames import encode_frame

CORPUS = HERE / "corpus"
ENCODE_EVERY = 8  # cases

UNBOUND = Limits(1 << 62, 1 << 31)

# What they let pass, so that they go on to later frames.
STRICTER = {
    Fault.LONG_FORM: "length not in its shortest form: 1002",
    Fault.LONG_CONTROL: "length not in its shortest form: 1002",
    Fault.NOT_UTF8: "text is not UTF-8: 1007 at its first bad byte",
    Fault.SIZE: "message limit, which they do not have: 1009",
    Fault.FRAGMENTS: "fragment limit, which they do not have: 1008",
}


@dataclass(slots=True)
class Tally:
    """What a run has seen."""

    streams: int = 0
    frames: int = 0  # given to the encoder
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Path] = field(default_factory=list)


# --- one stream -----------------------------------------------------------------------------


def differences(case: Case, classes: Counter[tuple[str, str]] | None = None) -> list[str]:
    """Run one case; return what cannot be explained, and count what can be in `classes`."""
    chunks = case.chunks()
    reading = read(case.stream, case.limits)
    expected = reading.events
    wrong = []
    for name, parts, directly in (
        ("cut", chunks, False),
        ("whole", [case.stream], False),
        ("received directly", chunks, True),
        ("whole, received directly", [case.stream], True),
    ):
        got = oracles.ours(case, parts, directly=directly)
        if got != expected:
            wrong.append(f"{name}: {_short(got)} and not {_short(expected)}")
    for name, got, limits, dialect in (
        ("websockets", oracles.websockets(chunks, case.limits), case.limits, WEBSOCKETS),
        ("wsproto", oracles.wsproto(chunks), UNBOUND, WSPROTO),
    ):
        if got == expected:
            continue
        theirs = read(case.stream, limits, dialect)
        rule = divergence(reading, theirs) if got == theirs.events else None
        if rule is None:
            wrong.append(f"{name}: {_short(got)} and not {_short(expected)}")
        elif classes is not None:
            classes[rule, name] += 1
    return wrong


def divergence(reading: Reading, theirs: Reading) -> str | None:
    """Name the rule by which another implementation reads a stream differently, if there is one.

    The rules are the decisions we made where implementations differ, and three that follow from
    telling every fault as soon as it can be seen.
    """
    fault, same_frame = reading.fault, reading.frames == theirs.frames
    if fault is None and theirs.fault is Fault.CLOSE_INSIDE:
        return "Close inside a message: answered, not refused"
    if fault is None and theirs.fault is Fault.CLOSE_CODE:
        return "close code 1014: taken"
    if same_frame and fault is Fault.TOP_BIT:
        return "top bit of a length: 1002"
    if same_frame and not theirs.has_ended:
        return "fault told before the frame is complete"
    if same_frame and fault is None:
        return "fault told when the header is complete, by them earlier"
    if same_frame:
        return "two faults in one frame"
    if theirs.frames < reading.frames:
        return "message limit: control frames do not count" if theirs.fault is Fault.SIZE else None
    return STRICTER.get(fault) if fault else None


def _short(events: list[Event]) -> str:
    shown = repr(events)
    return shown if len(shown) < 400 else f"{shown[:200]} ... {shown[-200:]}"


# --- one frame from the encoder -------------------------------------------------------------


def encoder_differences(random: Random) -> list[str]:
    """Encode a frame and have it decoded; return what is wrong."""
    opcode = random.choice((1, 2, CLOSE, 9, 10))
    event: Event
    if opcode == CLOSE:
        code, reason = random.choice((1000, 1013, 3000, 4999)), "bye ä€"[: random.randrange(7)]
        payload, event = code.to_bytes(2, "big") + reason.encode(), ("close", (code, reason))
    elif opcode == 1:
        message = text(random).decode(errors="ignore")
        payload, event = message.encode(), ("text", message)
    elif opcode == 2:
        payload = random.randbytes(payload_size(random))
        event = ("binary", payload)
    else:
        payload = random.randbytes(random.randrange(126))
        event = ("ping" if opcode == 9 else "pong", payload)
    mask = random.choice((None, bytes(4), random.randbytes(4)))
    frames = encode_frame(opcode, payload, mask=mask)
    if opcode < 8 and random.random() < 0.5:
        cut = random.randrange(len(payload) + 1)
        frames = encode_frame(opcode, payload[:cut], final=False, mask=mask)
        frames += encode_frame(0, payload[cut:], mask=mask)
    is_server = mask is not None
    results = {
        "websockets": oracles.websockets([frames], Limits(), is_server=is_server),
        "wsproto": oracles.wsproto([frames], is_server=is_server),
    }
    return [
        f"{name} decodes {frames.hex()} as {_short(got)} and not {_short([event])}"
        for name, got in results.items()
        if got != [event]
    ]


# --- findings -------------------------------------------------------------------------------


def smaller(case: Case, is_wrong: Callable[[Case], bool]) -> Case:
    """Return the smallest case near this one that is still wrong."""
    for cuts in ([], case.cuts[:1], case.cuts[-1:]):
        simpler = Case(case.stream, cuts, case.limits)
        if is_wrong(simpler):
            case = simpler
            break
    for start, _, end in reversed(framing(case.stream)):
        shorter = without(case, start, end)
        if is_wrong(shorter):
            case = shorter
    size = len(case.stream) // 2
    while size:
        start = 0
        while start < len(case.stream):
            shorter = without(case, start, start + size)
            if is_wrong(shorter):
                case = shorter
            else:
                start += size
        size //= 2
    return case


def without(case: Case, start: int, end: int) -> Case:
    """Return a case without a part of its stream; the cuts behind it move along."""
    stream = case.stream[:start] + case.stream[end:]
    cuts = {cut if cut <= start else max(start, cut - (end - start)) for cut in case.cuts}
    return Case(stream, sorted(cut for cut in cuts if 0 < cut < len(stream)), case.limits)


def keep(case: Case) -> Path:
    """Write a finding; it can be moved to the corpus as it is."""
    case = smaller(case, lambda candidate: bool(differences(candidate)))
    values = json.loads(case.dumps()) | {"wrong": differences(case)}
    path = FINDINGS / f"{sha256(case.dumps().encode()).hexdigest()[:16]}.json"
    path.write_text(json.dumps(values, indent=1) + "\n")
    return path


# --- a run ----------------------------------------------------------------------------------


def replay(tally: Tally, record: Callable[[Writable], None]) -> None:
    """Run the corpus, each stream cut as it was and byte by byte."""
    for path in sorted(CORPUS.glob("*.json")):
        case = Case.load(path)
        for cuts in (case.cuts, list(range(1, len(case.stream)))):
            again = Case(case.stream, cuts, case.limits)
            record(again)
            tally.streams += 1
            if differences(again, tally.classes):
                tally.findings.append(keep(again))


def run(seconds: float, seed: int, tally: Tally, console: Console) -> float:
    """Replay the corpus, then run random cases for so long; returns how long it took."""
    random = Random(seed)
    began = time.perf_counter()
    shown = began
    with recorder() as record:
        replay(tally, record)
        for i in itertools.count():
            now = time.perf_counter()
            if now - began >= seconds:
                return now - began
            if now - shown >= PROGRESS:
                shown = now
                console.print(
                    f"{now - began:6.0f} s  {tally.streams:>10,} streams", highlight=False
                )
            case = random_case(random)
            record(case)
            tally.streams += 1
            if differences(case, tally.classes):
                tally.findings.append(keep(case))
                console.print(f"[red]finding[/red] {tally.findings[-1].name}")
            if i % ENCODE_EVERY == 0:
                tally.frames += 1
                for wrong in encoder_differences(random):
                    path = FINDINGS / f"encoder-{seed}-{i}.txt"
                    path.write_text(wrong + "\n")
                    tally.findings.append(path)
    raise AssertionError("unreachable")


def show(tally: Tally, took: float, console: Console) -> None:
    """Print the figures."""
    console.print(
        f"{tally.streams:,} streams and {tally.frames:,} encoded frames in {took:.0f} s: "
        f"{tally.streams / took:,.0f} executions a second",
        highlight=False,
    )
    table = Table("decision", "other than", "streams", "share")
    for (name, oracle), count in sorted(tally.classes.items(), key=lambda item: -item[1]):
        table.add_row(name, oracle, f"{count:,}", f"{count / tally.streams:.2%}")
    console.print(table)
    colour = "red" if tally.findings else "green"
    console.print(f"[{colour}]{len(tally.findings)} unexplained[/{colour}]")


def fuzz(seconds: float, seed: int, console: Console) -> bool:
    """Run for so long and print what came of it; True when there is no finding."""
    tally = Tally()
    console.print(f"codec: seed {seed}, {len(list(CORPUS.glob('*.json')))} cases in the corpus")
    took = run(seconds, seed, tally, console)
    show(tally, took, console)
    return not tally.findings


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="how long to run")
@click.option("--seed", default=1, show_default=True, help="the same seed gives the same cases")
def main(seconds: float, seed: int) -> None:
    """Run the decoder and the encoder against two other implementations."""
    faulthandler.enable()
    raise SystemExit(0 if fuzz(seconds, seed, Console()) else 1)


if __name__ == "__main__":
    main()
