"""A process without descriptors: those who are in keep full service, those who come are told."""

import resource

import pytest

from tests.faults.service import Clients, Service, wait_until

NOFILE = resource.RLIMIT_NOFILE
FEW = 256


@pytest.mark.only_on_epoll(reason="asyncio and uvloop accept for the others, and drop or wait")
def test_without_descriptors_those_who_are_in_keep_full_service() -> None:
    with Service() as service, Clients(service.port) as clients:
        inside = clients.open_many(200)
        service.limit(NOFILE, FEW)
        said = service.output
        latest = 0.0
        crowd = []
        for number in range(1000):
            crowd.append(clients.begin(keeps=False))
            if number % 50 == 0:
                latest = max(latest, clients.ask(inside[number // 50]))
        clients.until(lambda: all(peer.status or peer.ended for peer in crowd))
        let_in = [peer for peer in crowd if peer.is_open]
        assert 0 < len(let_in) < FEW - 200
        refused = [peer for peer in crowd if peer not in let_in]
        assert {peer.status for peer in refused if peer.ended == "fin"} <= {503}
        assert service.descriptors() == FEW
        clients.ask_all(inside)
        assert latest < 0.25
        # Nothing left to do: it is neither busy nor talkative.
        before = service.cpu()
        clients.during(1.0)
        assert service.cpu() - before <= 0.1
        assert len(service.output) - len(said) < 500
        # As soon as there are descriptors again, there is room.
        for peer in inside[:50]:
            clients.close(peer)
        newcomer = clients.open()
        assert clients.ask(newcomer) < 1.5
        clients.ask_all([*inside[50:], *let_in])


def test_descriptors_that_the_application_has_taken_are_missed_by_newcomers_alone() -> None:
    with Service() as service, Clients(service.port) as clients:
        inside = clients.open_many(20)
        service.limit(NOFILE, FEW)
        clients.ask(inside[0], "eat")
        assert service.descriptors() == FEW
        for _ in range(20):
            refused = clients.begin()
            clients.until(lambda peer=refused: peer.ended)  # type: ignore[misc]
            assert refused.status in (0, 503)
        clients.ask_all(inside)
        clients.ask(inside[0], "spit")
        clients.ask(clients.open())


def test_a_reserve_that_is_lost_as_well_does_not_cost_the_cpu(driver: str) -> None:
    # Where the loop accepts, uvloop does not pause when there is not even one; asyncio does.
    options = {"loop": "asyncio" if driver == "transports" else "uvloop"}
    with Service(options) as service, Clients(service.port) as clients:
        inside = clients.open_many(20)
        service.limit(NOFILE, 4)  # below every number that is in use: not even one for one
        waiting = clients.begin()
        clients.ask_all(inside)
        before = service.cpu()
        clients.during(1.0)
        busy = service.cpu() - before
        service.limit(NOFILE, 1024)
        clients.until(lambda: waiting.status or waiting.ended)
        clients.ask(clients.open())
        assert busy <= 0.1


def test_a_descriptor_is_given_back_by_every_end() -> None:
    with Service() as service, Clients(service.port) as clients:
        canary = clients.open()
        before = service.descriptors()
        peers = clients.open_many(90)
        for number, peer in enumerate(peers):
            if number % 3 == 0:
                clients.close(peer)
            elif number % 3 == 1:
                clients.leave(peer)
            else:
                peer.send_bytes(b"no frame at all")
        clients.until(lambda: all(peer.ended for peer in peers))
        wait_until(lambda: service.descriptors() == before)
        clients.ask(canary)
