"""What is computed for a small cluster is what a real broker counts."""

from __future__ import annotations

from benchmarks.scale.brokers import nats_server
from benchmarks.scale.tables import TRIAL_LOAD, TRIAL_NODES, TRIAL_SEED
from benchmarks.scale.trial import differences, draw, play


def test_a_real_nats_server_counts_what_was_computed_to_the_byte() -> None:
    script = draw(TRIAL_LOAD, TRIAL_NODES, TRIAL_SEED)
    assert script.expected.unsubscribes > 100  # members have moved
    assert script.expected.through_hubs > 100  # and not everything went through the broker
    with nats_server() as broker:
        assert differences(script, play(script, broker)) == []


def test_a_message_too_many_is_noticed() -> None:
    script = draw(TRIAL_LOAD, 1, TRIAL_SEED)
    subject, size = script.orders[0].messages[0]
    script.orders[0].messages.append((subject, size))
    with nats_server() as broker:
        found = [line.partition(":")[0] for line in differences(script, play(script, broker))]
    assert {"messages_in", "bytes_in"} <= set(found)
