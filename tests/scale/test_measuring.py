"""Unit costs are read from real servers, which do some work for what they are asked."""

from __future__ import annotations

from benchmarks.scale.brokers import nats_server
from benchmarks.scale.measure_brokers import measure_message, measure_subscriptions
from benchmarks.scale.measure_worker import measure_hub
from benchmarks.scale.wires import NatsWire


def test_a_broker_works_more_for_more_subscribers() -> None:
    with nats_server() as broker:
        few, many = (measure_message(broker, NatsWire(), 10, count, 32) for count in (0, 50))
    assert 0 < few < many


def test_a_broker_works_and_has_memory_for_each_subscription() -> None:
    with nats_server() as broker:
        found = measure_subscriptions(broker, NatsWire())
    assert min(found["subscribe"], found["unsubscribe"]) > 0
    assert found["subject_bytes"] > 32  # its name at least


def test_hub_sender_and_receivers_work_for_each_message() -> None:
    assert min(measure_hub(window=10, count=200, subscribers=2, size=32)) > 0
