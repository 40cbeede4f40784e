"""Peers that do not read, among many that do."""

from tests.faults.service import Clients, Peer, Service

KEPT = 1 << 14  # bytes that the kernel keeps of a connection: the rest is the server's


def test_one_slow_consumer_among_hundreds_costs_the_others_nothing() -> None:
    policy = {"write_limit": 256 << 10}
    with (
        Service({"policy": policy, "send_buffer": KEPT}) as service,
        Clients(service.port) as clients,
    ):
        others = clients.open_many(499)
        clients.ask_all(others)
        slow = clients.open(receive_buffer=4096)
        before = service.memory()
        clients.deafen(slow)
        rounds = 0
        while not service.stats()["cut_off"]:
            rounds += 1
            assert rounds <= 60
            others[0].send("burst 20 1024")
            wanted = 1 + 20 * rounds
            clients.until(lambda: all(peer.count == wanted for peer in others))  # noqa: B023
        assert rounds > 10
        expected = [b"hello", *(b"%d " % n for _ in range(rounds) for n in range(20))]
        for peer in others:
            assert peer.is_open
            assert [message[: message.find(b" ") + 1] or message for message in peer.messages] == (
                expected
            )
        assert service.stats()["members"]["room"] == 499
        assert service.memory() - before < 6 << 20
        clients.heal(slow)
        clients.until(lambda: slow.ended)
        assert slow.code == 1013
        assert slow.count < 20 * rounds
        clients.ask_all(others)


def settled(service: Service, clients: Clients) -> int:
    """Wait until nobody more is cut off: it looks every 0.1 s at the most. Return who is left."""
    left = 0
    while left != (left := service.stats()["members"]["push"]):
        for _ in range(4):
            clients.during(0.1)
            clients.ask(clients.peers[0])
    return left


def test_above_the_limit_of_the_process_those_with_most_to_read_go_first() -> None:
    options = {"server": {"max_total_write_buffer": 4 << 20}, "policy": {"write_limit": 64 << 20}}
    with (
        Service({**options, "send_buffer": KEPT}) as service,
        Clients(service.port) as clients,
    ):
        canary = clients.open()
        before = service.memory()
        slow: list[Peer] = []
        for _ in range(100):  # the first have most to read
            slow.append(clients.open("/ws/push", receive_buffer=4096))
            clients.deafen(slow[-1])
            for _ in range(3):
                clients.ask(canary, "push 20000")
        # A message that many wait for is in memory once, and as long as one of them has it.
        assert service.memory() - before < 6 << 20
        left = settled(service, clients)
        assert 20 < left < 100
        for peer in slow:
            clients.heal(peer)
        clients.until(lambda: all(peer.ended for peer in slow[:-left]))
        assert service.stats()["codes"] == {"1013": 100 - left}
        # Who had a message in the middle when more room was needed gets no Close frame behind it.
        assert {peer.code for peer in slow[:-left]} <= {1013, None}
        clients.until(lambda: all(p.count == 300 - 3 * i for i, p in enumerate(slow) if p.is_open))
        assert all(peer.is_open for peer in slow[-left:])
        clients.ask(canary)
