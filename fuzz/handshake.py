"""The HTTP phase against two other implementations (h11 and websockets).

Each stream is served whole, cut and byte by byte, which must all come to the same. What the server
takes for a request, h11 must read as the very same request; what it answers with 101, websockets
must answer with 101 as well. Where they do not, there is a rule with a name, or it is a finding.
What the server refuses gets one response with a status of the table, then FIN, and no handler
hears of it.
"""

from __future__ import annotations

import faulthandler
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random

import click
from rich.console import Console
from rich.table import Table

from fuzz.keeping import FINDINGS, HERE, PROGRESS, Writable, recorder
from fuzz.readers import (
    Reading,
    by_name,
    h11_requests,
    websockets_request,
    websockets_status,
)
from fuzz.requests import Case, random_request
from fuzz.site import Outcome, Seen, Site

CORPUS = HERE / "corpus" / "handshake"

REFUSALS = frozenset({400, 403, 405, 408, 413, 414, 426, 431, 505})  # 503 is no client's fault
ROUTED = frozenset({404, 405})  # by the router: the connection may go on
BYTEWISE = 1500  # bytes of a stream that is fed one by one; a longer one in pieces
PIECE = 97
LONGEST_LINE = 8192  # bytes
SHRINK = 5.0  # seconds for a finding to be made small
AT_THE_END = ("has_fin", "is_closed")
ALIKE = 3  # findings of one sort that are written; the others are counted


@dataclass(slots=True)
class Tally:
    """What a run has seen."""

    streams: int = 0
    executions: int = 0
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)  # by what they are about


# --- one stream -----------------------------------------------------------------------------


def ways(case: Case) -> list[tuple[str, list[bytes]]]:
    """Return the ways in which a stream arrives."""
    stream = case.stream
    step = 1 if len(stream) <= BYTEWISE else PIECE
    single = [stream[i : i + step] for i in range(0, len(stream), step)]
    return [("cut", case.chunks()), ("byte by byte", single)]


def differences(
    site: Site, case: Case, classes: Counter[tuple[str, str]] | None = None
) -> tuple[Outcome, list[str]]:
    """Run one case; return what it came to, and what of it cannot be explained."""
    site.log.texts.clear()
    outcome = site.serve([case.stream], ends=case.ends)
    wrong = []
    for name, parts in ways(case):
        other = site.serve(parts, ends=case.ends)
        for what in (f.name for f in fields(Outcome)):
            if what in AT_THE_END and outcome.is_upgraded and other.is_upgraded:
                continue  # of the socket, not of the handshake
            got, expected = getattr(other, what), getattr(outcome, what)
            if got != expected:
                wrong.append(f"{name}, {what}: {_short(got)} and not {_short(expected)}")
    wrong += [f"logged: {text}" for text in site.log.texts]
    wrong += answered_wrongly(outcome)
    wrong += understood_otherwise(case, outcome, Counter() if classes is None else classes)
    return outcome, wrong


def answered_wrongly(outcome: Outcome) -> list[str]:
    """Hold the responses to what is promised of every one of them."""
    wrong = [outcome.broken] if outcome.broken else []
    answers = outcome.answers
    for i, answer in enumerate(answers):
        is_last = i == len(answers) - 1
        closes = answer.get("connection") == ["close"]
        if not is_last and (closes or answer.status == 101):
            wrong.append(f"a response follows: {answer}")
        if answer.status == 101:
            continue
        if answer.status in REFUSALS and not answer.is_marked and i >= len(outcome.seen):
            wrong += [] if closes else [f"the connection goes on: {answer}"]
        elif answer.is_marked:
            wrong += [] if answer.status in (200, 426) else [f"a handler gave: {answer}"]
        elif answer.status not in REFUSALS | ROUTED:
            wrong.append(f"not in the table: {answer}")
        if closes and not outcome.has_fin and answer.status != 408:
            wrong.append(f"no FIN: {answer}")
    if sum(answer.is_marked for answer in answers) != outcome.calls:
        wrong.append(f"calls of handlers: {outcome.calls} for {answers}")
    if len(outcome.seen) > len(answers):
        wrong.append(f"responses: {len(answers)} for {outcome.seen}")
    if not outcome.is_upgraded:
        if not outcome.is_closed:
            wrong.append("still open when the client has been silent for long")
        if outcome.messages or outcome.codes:
            wrong.append("a socket without a 101")
    return wrong


# --- the others -----------------------------------------------------------------------------


def understood_otherwise(
    case: Case, outcome: Outcome, classes: Counter[tuple[str, str]]
) -> list[str]:
    """Compare the requests that were taken with what the others read."""
    wrong = []
    readings = h11_requests(case.stream, len(outcome.seen))
    for i, seen in enumerate(outcome.seen):
        reading = readings[i] if i < len(readings) else readings[-1]
        if reading.blank:
            classes["empty lines before a request are skipped", "both"] += 1
        if reading.request is None:
            wrong.append(f"h11 refuses: request {i}, {reading.why}")
            break
        if not _is_same(seen, reading.request):
            wrong.append(f"h11 reads: {reading.request} and not {seen}")
            break
    if outcome.is_upgraded and not wrong:
        wrong += _websockets(case.stream, readings[-1], classes)
    return wrong


def _is_same(ours: Seen, theirs: Seen) -> bool:
    """Compare; h11 writes the coding of a body in lower case."""
    if (ours.method, ours.target, ours.body) != (theirs.method, theirs.target, theirs.body):
        return False
    mine = [
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in by_name(ours.headers)
    ]
    return mine == by_name(theirs.headers)


def _websockets(stream: bytes, reading: Reading, classes: Counter[tuple[str, str]]) -> list[str]:
    request, why = websockets_request(stream[reading.start :])
    if request is None:
        head = stream[reading.start : reading.end].split(b"\r\n")
        if "LineTooLong" in why and max(map(len, head)) <= LONGEST_LINE:
            classes["the longest line is counted without its end", "websockets"] += 1
            return []
        return [f"websockets refuses: {why}"]
    assert reading.request is not None
    theirs = sorted((name.lower(), value) for name, value in request.headers.raw_items())
    ours = [(name.decode(), value.decode("latin-1")) for name, value in reading.request.headers]
    if theirs != sorted(ours):
        return [f"websockets reads: {theirs} and not {sorted(ours)}"]
    status, why = websockets_status(request)
    if status == 101:
        return []
    rule = refused_by_rule(reading.request, status, why)
    if rule is None:
        return [f"websockets answers: {status} {why}"]
    classes[rule, "websockets"] += 1
    return []


def refused_by_rule(request: Seen, status: int, why: str) -> str | None:
    """Name the decision by which websockets refuses a handshake that we take."""
    upgrades = [value for name, value in request.headers if name == b"upgrade"]
    connections = [value for name, value in request.headers if name == b"connection"]
    if status == 400 and b"" in upgrades + connections and ": expected " in why:
        return "empty members of a list are skipped (RFC 9110 section 5.6.1)"
    if status == 400 and "invalid Connection header" in why:
        return "members of Connection that are no tokens are passed over"
    if status in (400, 426) and (len(upgrades) > 1 or b"," in upgrades[0]):
        return "Upgrade is a list that has websocket in it (RFC 9110 section 7.8)"
    return None


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) < 600 else f"{shown[:300]} ... {shown[-300:]}"


# --- findings -------------------------------------------------------------------------------


def smaller(case: Case, is_wrong: Callable[[Case], bool]) -> Case:
    """Return a small case near this one that is still wrong, as small as the time allows."""
    end = time.monotonic() + SHRINK
    for simpler in (Case(case.stream), Case(case.stream, case.cuts), Case(case.stream, [], True)):
        if is_wrong(simpler):
            case = simpler
            break
    size = len(case.stream) // 2
    while size:
        start = 0
        while start < len(case.stream) and time.monotonic() < end:
            shorter = without(case, start, start + size)
            if shorter.stream and is_wrong(shorter):
                case = shorter
            else:
                start += size
        size //= 2
    return case


def without(case: Case, start: int, end: int) -> Case:
    """Return a case without a part of its stream; the cuts behind it move along."""
    stream = case.stream[:start] + case.stream[end:]
    cuts = {cut if cut <= start else max(start, cut - (end - start)) for cut in case.cuts}
    return Case(stream, sorted(cut for cut in cuts if 0 < cut < len(stream)), case.ends)


def keep(site: Site, case: Case) -> Path:
    """Write a finding; it can be moved to the corpus as it is."""
    sort = sort_of(differences(site, case)[1])
    case = smaller(case, lambda candidate: sort_of(differences(site, candidate)[1]) == sort)
    values = json.loads(case.dumps()) | {"wrong": differences(site, case)[1]}
    path = FINDINGS / f"handshake-{sha256(case.dumps().encode()).hexdigest()[:16]}.json"
    path.write_text(json.dumps(values, indent=1) + "\n")
    return path


def sort_of(wrong: list[str]) -> str:
    """What the first difference is about: its words before the colon."""
    return wrong[0].partition(":")[0] if wrong else ""


# --- the corpus -----------------------------------------------------------------------------


def kind(outcome: Outcome, classes: Counter[tuple[str, str]]) -> str:
    """Say in a few words what a stream came to: as many kinds, as many files in the corpus."""
    words = [rule.partition(" (")[0] for rule, _ in classes][:1]
    if not words and outcome.answers:
        last = outcome.answers[-1]
        words = [str(last.status), "" if last.is_marked else last.body.decode("latin-1")]
        if last.status in (101, 200, 400):
            words += ["message"] if outcome.messages else []
            words += ["behind another"] if outcome.calls > 1 and last.is_marked else []
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words or ["nothing"]).lower()).strip("-")


def grow(site: Site, seconds: float, seed: int, console: Console) -> None:
    """Write a small stream for each kind of outcome that the corpus has none for."""
    random = Random(seed)
    CORPUS.mkdir(exist_ok=True)

    def kind_of(case: Case) -> str | None:
        classes: Counter[tuple[str, str]] = Counter()
        outcome, wrong = differences(site, case, classes)
        return None if wrong else kind(outcome, classes)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        case = random_request(random)
        found = kind_of(case)
        path = CORPUS / f"{found}.json"
        if found is not None and not path.exists():
            is_alike = partial(_is_of_kind, kind_of, found)
            path.write_text(smaller(case, is_alike).dumps() + "\n")
            console.print(path.name, highlight=False)


def _is_of_kind(kind_of: Callable[[Case], str | None], kind: str, case: Case) -> bool:
    return kind_of(case) == kind


# --- a run ----------------------------------------------------------------------------------


def replay(site: Site, tally: Tally, record: Callable[[Writable], None]) -> None:
    """Run the corpus."""
    for path in sorted(CORPUS.glob("*.json")):
        check(site, Case.load(path), tally, record)


def check(site: Site, case: Case, tally: Tally, record: Callable[[Writable], None]) -> Path | None:
    """Run one case and count it; returns the file when it is a finding that was written."""
    record(case)
    tally.streams += 1
    tally.executions += 1 + len(ways(case))
    outcome, wrong = differences(site, case, tally.classes)
    for answer in outcome.answers:
        tally.outcomes[str(answer.status)] += 1
    if not outcome.answers:
        tally.outcomes["none"] += 1
    if not wrong:
        return None
    sort = sort_of(wrong)
    tally.findings[sort] += 1
    return keep(site, case) if tally.findings[sort] <= ALIKE else None


def run(seconds: float, seed: int, tally: Tally, console: Console) -> float:
    """Replay the corpus, then run random cases for so long; returns how long it took."""
    random = Random(seed)
    began = shown = time.perf_counter()
    with recorder() as record, Site() as site:
        replay(site, tally, record)
        while True:
            now = time.perf_counter()
            if now - began >= seconds:
                return now - began
            if now - shown >= PROGRESS:
                shown = now
                console.print(
                    f"{now - began:6.0f} s  {tally.streams:>10,} streams", highlight=False
                )
            path = check(site, random_request(random), tally, record)
            if path is not None:
                console.print(f"[red]finding[/red] {path.name}")


def show(tally: Tally, took: float, console: Console) -> None:
    """Print the figures."""
    console.print(
        f"{tally.streams:,} streams, served {tally.executions:,} times in {took:.0f} s: "
        f"{tally.executions / took:,.0f} executions a second",
        highlight=False,
    )
    table = Table("decision", "other than", "streams", "share")
    for (name, oracle), count in sorted(tally.classes.items(), key=lambda item: -item[1]):
        table.add_row(name, oracle, f"{count:,}", f"{count / tally.streams:.2%}")
    console.print(table)
    shares = (f"{status} {count:,}" for status, count in sorted(tally.outcomes.items()))
    console.print(f"responses: {', '.join(shares)}", highlight=False)
    for sort, count in tally.findings.most_common():
        console.print(f"{count:,} times: {sort}", highlight=False)
    colour = "red" if tally.findings else "green"
    console.print(f"[{colour}]{tally.findings.total():,} unexplained[/{colour}]")


def fuzz(seconds: float, seed: int, console: Console) -> bool:
    """Run for so long and print what came of it; True when there is no finding."""
    tally = Tally()
    size = len(list(CORPUS.glob("*.json")))
    console.print(f"handshake: seed {seed}, {size} cases in the corpus")
    took = run(seconds, seed, tally, console)
    show(tally, took, console)
    return not tally.findings


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="how long to run")
@click.option("--seed", default=1, show_default=True, help="the same seed gives the same cases")
@click.option("--grow", "grows", is_flag=True, help="add streams to the corpus instead")
def main(seconds: float, seed: int, grows: bool) -> None:
    """Run the HTTP phase against two other implementations."""
    faulthandler.enable()
    console = Console()
    if grows:
        with Site() as site:
            grow(site, seconds, seed, console)
        return
    raise SystemExit(0 if fuzz(seconds, seed, console) else 1)


if __name__ == "__main__":
    main()
