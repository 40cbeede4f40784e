"""Options that concern several processes, where there is one."""

from collections.abc import Sequence

import pytest
from click.testing import CliRunner

import wsgroups
from tests.support import quiet_handle
from wsgroups import Handle, ServerConfig, testing
from wsgroups.command.cli import main


async def test_a_single_server_tells_its_health_where_it_is_asked_to() -> None:
    handle = Handle()
    handle.get("/{name}")(lambda request, name: name)
    async with testing.start(handle, health_path="/health") as app:
        answer = await app.get("/health?verbose=1")
        assert (answer.status, answer.json()) == (200, {"status": "ok", "connections": 1})
        assert (await app.get("/other")).text == "other"
        refused = await app.request("POST", "/health")
        assert refused.status == 405
    async with testing.start(handle) as app:
        assert (await app.get("/health")).text == "health"


@pytest.mark.parametrize("workers", [0, -1, 33])
def test_the_number_of_workers_has_bounds(workers: int) -> None:
    with pytest.raises(ValueError, match="workers must be 1 to 32"):
        ServerConfig(workers=workers)


def test_a_health_path_is_a_path() -> None:
    with pytest.raises(ValueError, match='health_path must begin with "/": "/health"'):
        ServerConfig(health_path="health")


@pytest.mark.parametrize("bus", [None, "unix:/run/app/hub.sock"])
def test_a_node_number_is_for_those_with_a_broker(bus: str | None) -> None:
    with pytest.raises(ValueError, match="node needs a bus with a broker"):
        ServerConfig(node=7, bus=bus)


@pytest.mark.parametrize("node", [-1, 0, 1024])
def test_a_node_number_is_one_that_a_node_can_have(node: int) -> None:
    with pytest.raises(ValueError, match="node must be 1 to 1023"):
        ServerConfig(node=node, bus="nats://host")
    ServerConfig(node=1023, bus="nats://host")


async def test_a_server_in_a_loop_is_one_process() -> None:
    with pytest.raises(ValueError, match="run\\(\\) and the command start several"):
        wsgroups.serve(quiet_handle(), workers=2)


async def test_a_server_in_a_loop_keeps_no_bus() -> None:
    with pytest.raises(ValueError, match="run\\(\\) and the command do"):
        wsgroups.serve(quiet_handle(), bus="unix:hub.sock")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["app", "--workers", "2", "--reload"], "--reload starts one process"),
        (["app", "--workers", "99"], "workers must be 1 to 32"),
        (["app", "--bus", "unix:hub.sock", "--reload"], "--reload starts one process"),
        (["app", "--bus", "hub.sock"], "'hub.sock' is no bus; write it like unix:/run/"),
        (["app", "--bus", "unix:"], "write unix:/run/app/hub.sock"),
        (["app", "--bus", "nats://host:abc"], "--bus: 'nats://host': the port of 'host' must be a"),
        (["app", "--node", "7"], "--node needs a --bus with a broker, nats://... or redis://..."),
        (["app", "--node", "x"], "'x' is not a number"),
        (["app", "--bus", "nats://host", "--node", "0"], "--node must be 1 to 1023, not 0"),
        (
            ["app", "--bus", "unix:a", "--health-path", "health"],
            '--health-path must begin with "/"',
        ),
    ],
)
def test_what_the_command_says(arguments: Sequence[str], message: str) -> None:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 2
    assert message in result.output
