"""The formulas for large clusters agree with clusters that are drawn, and counted one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmarks.scale.costs import load as load_costs
from benchmarks.scale.limits import NODES, USES, Model, used_up_at
from benchmarks.scale.load import Load, draw_rooms, room_classes
from benchmarks.scale.model import AS_BUILT, BEAT, Beats, Design, Interest, simulate
from benchmarks.scale.traffic import Cluster
from benchmarks.scale.trial import SECONDS, draw
from wsgroups.cluster.letters import HEAD_SIZE

LOAD = Load(
    workers_per_node=4,
    sockets_per_worker=1_000,
    groups=0,
    speak_interval=20.0,
    id_interval=20.0,
    move_interval=60.0,
)
NEAR = 0.03


@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_expectations_are_near_what_is_counted(nodes: int) -> None:
    counted = draw(LOAD, nodes, 7).expected
    expected = simulate(LOAD, nodes)
    assert counted.messages_in / SECONDS == pytest.approx(expected.coming, rel=NEAR)
    assert counted.messages_out / SECONDS == pytest.approx(expected.going, rel=NEAR)
    assert counted.through_hubs / SECONDS == pytest.approx(expected.hub_going, rel=NEAR)
    assert counted.subscriptions == pytest.approx(expected.interest, rel=NEAR)
    moves = counted.unsubscribes / SECONDS
    assert moves == pytest.approx(expected.subscribes, rel=2 * NEAR)
    payloads = sum(flow.going * flow.size for flow in expected.flows)
    assert counted.bytes_out / SECONDS == pytest.approx(payloads, rel=NEAR)


def test_sizes_of_rooms_follow_the_law_and_use_all_memberships() -> None:
    classes = room_classes(Load(), 1_000_000)
    rooms = sum(each.count for each in classes)
    members = sum(each.count * each.size for each in classes)
    assert members == pytest.approx(2_000_000)
    assert classes[0].size == 2
    assert classes[-1].size <= 10_000
    large = sum(each.count for each in classes if each.size >= 100)
    assert large / rooms == pytest.approx((2 / 100) ** 1.2, rel=0.15)
    drawn = list(draw_rooms(Load(), 1_000_000, random.Random(1)))
    assert sum(drawn) == pytest.approx(members, rel=NEAR)


def test_a_cluster_on_paper_counts_as_brokers_do() -> None:
    cluster = Cluster(nodes=2, workers_per_node=2)
    assert cluster.join("room", 0)
    assert not cluster.join("room", 0)  # its second member there
    assert cluster.join("room", 1)
    assert cluster.join("room", 3)
    cluster.publish(0, "room", 100)
    counted = cluster.counted
    assert (counted.messages_in, counted.messages_out, counted.through_hubs) == (1, 2, 1)
    assert counted.bytes_out == 2 * (100 + HEAD_SIZE)
    assert not cluster.send(0, 1, 100)  # over the hub
    assert cluster.send(0, 2, 100)
    assert (counted.messages_in, counted.messages_out, counted.through_hubs) == (2, 3, 2)
    assert not cluster.leave("room", 0)
    assert cluster.leave("room", 0)
    cluster.beat(2, BEAT - HEAD_SIZE)
    assert counted.messages_out == 8
    assert dict(counted.received) == {0: 1, 1: 2, 2: 1, 3: 2, 4: 1, 5: 1}
    assert counted.subscriptions == 12 + 2


def test_signs_of_life_grow_with_the_square_of_the_workers_unless_nodes_gossip() -> None:
    few, many = simulate(LOAD, 10), simulate(LOAD, 100)
    assert many.beats.going / few.beats.going == pytest.approx(100, rel=NEAR)
    few, many = (simulate(LOAD, nodes, Design(Beats.GOSSIP)) for nodes in (10, 100))
    assert many.beats.going / few.beats.going == pytest.approx(10)


def test_a_gateway_or_a_home_never_makes_the_broker_carry_more_copies_to_rooms() -> None:
    for nodes in (3, 30, 300):
        workers = simulate(LOAD, nodes, AS_BUILT)
        gateways = simulate(LOAD, nodes, Design(interest=Interest.NODES))
        homes = simulate(LOAD, nodes, Design(interest=Interest.HOMES))
        assert gateways.room_sends.going < workers.room_sends.going
        assert gateways.interest < workers.interest
        assert homes.interest == 2 * nodes  # its address, and the signs of life
        assert homes.subscribes == 0


def test_limits_are_where_something_is_used_up_and_one_node_less_is_not() -> None:
    costs = load_costs()
    model = Model(Load(), costs, costs.redis, 1.0)
    for name in ("CPU of the broker, all together", "Bytes out of the broker"):
        nodes = used_up_at(model, USES[name])
        assert nodes is not None
        assert USES[name](model, model.case(nodes)) >= 1.0
        assert USES[name](model, model.case(nodes - 1)) < 1.0
    assert used_up_at(model, USES["Numbers of nodes in ids"]) == NODES + 1
    assert used_up_at(model, lambda model, case: 0.5) is None
    twice = replace(model, cores=2.0)
    name = "CPU of the broker, all together"
    assert (used_up_at(twice, USES[name]) or 0) > (used_up_at(model, USES[name]) or 0)
