"""Measures all unit costs: two or three minutes."""

from __future__ import annotations

import subprocess

from benchmarks.machine import describe_machine

from .brokers import find_program, nats_server, redis_server
from .costs import BrokerCosts, Costs
from .measure_brokers import Say, in_new_process, measure_broker
from .measure_clients import measure_client, measure_interest, measure_paces, nats_and_redis
from .measure_worker import measure_worker


def measure(say: Say) -> Costs:
    """Return what everything costs on this machine; `say` is told what is being measured."""
    found: dict[str, BrokerCosts] = {}
    for name, start in (("nats", nats_server), ("redis", redis_server)):
        connect, wire = nats_and_redis()[name]
        version = _version(f"{name}-server")
        say(f"{version}: its client")
        with start() as broker:
            clients = measure_client(broker, connect, wire)
            say(f"{version}: messages one by one")
            paces = measure_paces(broker, name, connect)
            interest = in_new_process(measure_interest, broker, name)
        with start() as broker:  # a new one: nothing of the client's is in its memory
            tell = _prefixed(say, version)
            found[name] = measure_broker(version, broker, wire, clients, paces, interest, tell)
    worker = measure_worker(say)
    return Costs(describe_machine()["processor"], found["nats"], found["redis"], worker)


def _prefixed(say: Say, name: str) -> Say:
    return lambda what: say(f"{name}: {what}")


def _version(program: str) -> str:
    asked = [find_program(program, "see CONTRIBUTING.md"), "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    number = next(word for word in said.split() if word.lstrip("v=").replace(".", "").isdigit())
    return f"{program} {number.lstrip('v=')}"
