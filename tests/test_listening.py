"""Where a server listens: files and owners, inherited sockets, systemd, IPv6, shared ports."""

import asyncio
import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect, unix_connect

from tests.support import PATIENCE, Program, ask, request
from wsgroups import Handle, ServerConfig, serve, testing
from wsgroups.server.listening import open_for_workers, open_sockets

APP = """
import os

from wsgroups import Handle, HandlerStatus

handle = Handle()


@handle.get("/")
def enter(request):
    if not request.websocket_upgrade:
        return " ".join(sorted(name for name in os.environ if name.startswith("LISTEN_")))
    request.send_upgrade("room")
    return HandlerStatus.HANDLED


@handle.websocket("room")
def on_message(message, ws):
    ws.send(message)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def hello(answer: str = "hello") -> Handle:
    """Return a Handle with one plain route."""
    handle = Handle()
    handle.get("/")(lambda request: answer)
    return handle


def command(folder: Path, *arguments: str, **how: Any) -> Program:
    """Run `python -m wsgroups app` with these arguments."""
    return Program("-m", "wsgroups", "app", *arguments, cwd=folder, **how)


def echoes(connection: Any) -> bool:
    with connection:
        connection.send("echo")
        return bool(connection.recv(PATIENCE) == "echo")


# --- files of Unix sockets ------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o770])
@pytest.mark.parametrize("umask", [0o022, 0o077])
async def test_a_unix_socket_has_the_mode_it_is_given(
    tmp_path: Path, mode: int, umask: int
) -> None:
    path = tmp_path / "a.sock"
    before = os.umask(umask)
    try:
        async with serve(hello(), uds=str(path), uds_mode=mode) as server:
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert (await ask(server, request("/"))).body == b"hello"
    finally:
        os.umask(before)
    assert not path.exists()


async def test_nobody_connects_before_the_mode_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sock"
    refused: list[str] = []
    chmod = os.chmod

    def try_first(name: str, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            with pytest.raises(ConnectionRefusedError):
                early.connect(str(path))
            refused.append(name)
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", try_first)
    async with serve(hello(), uds=str(path), uds_mode=0o600) as server:
        assert len(refused) == 1
        assert (await ask(server, request("/"))).body == b"hello"


async def test_a_link_in_the_place_of_the_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, secret = tmp_path / "a.sock", tmp_path / "secret"
    secret.write_text("precious")
    secret.chmod(0o600)
    bind = socket.socket.bind

    def bind_and_be_attacked(sock: socket.socket, address: Any) -> None:
        bind(sock, address)
        path.rename(tmp_path / "away")
        path.symlink_to(secret)

    monkeypatch.setattr(socket.socket, "bind", bind_and_be_attacked)
    with pytest.raises(OSError, match=r"a\.sock"):
        await serve(hello(), uds=str(path), uds_mode=0o666).start()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() == "precious"


def other_than_us() -> tuple[pwd.struct_passwd, grp.struct_group]:
    """A user and a group of this machine that the test does not run as."""
    user = next(user for user in pwd.getpwall() if user.pw_uid != os.geteuid())
    return user, next(group for group in grp.getgrall() if group.gr_gid != os.getegid())


async def test_a_unix_socket_has_the_owner_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    user, group = other_than_us()
    ours = os.geteuid(), os.getegid()
    wanted = {
        f"{ours[0]}:{ours[1]}": ours,
        f":{grp.getgrgid(ours[1]).gr_name}": ours,
        f"{user.pw_name}": (user.pw_uid, ours[1]),
        f"{user.pw_name}:{group.gr_name}": (user.pw_uid, group.gr_gid),
        f":{group.gr_name}": (ours[0], group.gr_gid),
        f"{user.pw_uid}:{group.gr_gid}": (user.pw_uid, group.gr_gid),
    }
    for owner, numbers in wanted.items():
        if ours[0] != 0 and numbers[0] != ours[0]:
            with pytest.raises(OSError, match="only root may"):
                await serve(hello(), uds=str(path), uds_owner=owner).start()
            assert not path.exists()
        elif ours[0] == 0 or numbers == ours:
            async with serve(hello(), uds=str(path), uds_owner=owner, uds_mode=0o640):
                found = path.stat()
                assert (found.st_uid, found.st_gid) == numbers
                assert stat.S_IMODE(found.st_mode) == 0o640


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        ("no-such-user", "no user 'no-such-user'"),
        ("root:no-such-group", "no group 'no-such-group'"),
        (":no-such-group", "no group 'no-such-group'"),
    ],
)
async def test_an_owner_that_does_not_exist_is_named(
    tmp_path: Path, owner: str, message: str
) -> None:
    path = tmp_path / "a.sock"
    with pytest.raises(ValueError, match=message):
        await serve(hello(), uds=str(path), uds_owner=owner).start()
    assert not path.exists()


async def test_the_file_of_a_server_that_came_after_us_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = serve(hello("first"), uds=str(path))
    await first.start()
    path.unlink()
    async with serve(hello("second"), uds=str(path)) as second:
        await first.close()
        assert (await ask(second, request("/"))).body == b"second"
    assert not path.exists()


async def test_a_server_that_is_too_busy_to_answer_is_not_taken_for_dead(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as queue:
        busy.bind(str(path))
        busy.listen(0)
        with contextlib.suppress(BlockingIOError):
            for _ in range(10):
                waiting = queue.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(path))
        with pytest.raises(OSError, match="another program listens there"):
            await serve(hello(), uds=str(path)).start()
        assert path.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("app.py", "app.py: it is a file, not a socket; choose another path"),
        ("folder", "folder: it is a directory, not a socket; choose another path"),
        ("link", "link: it is a link to nothing, not a socket; choose another path"),
        ("none/a.sock", "a.sock: No such file or directory; make the directory first"),
        ("app.py/a.sock", "cannot listen on .*a.sock: Not a directory"),
    ],
)
async def test_a_path_that_cannot_have_a_socket_says_why(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "app.py").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match=message):
        await serve(hello(), uds=str(tmp_path / name)).start()
    assert (tmp_path / "app.py").read_text() == "precious"


# --- inherited sockets ----------------------------------------------------------------------


def tcp(**options: Any) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), **options)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_an_inherited_port_is_served_and_closed(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    sock = socket.create_server((host, 0), family=family)
    port, number = sock.getsockname()[1], sock.detach()
    async with testing.start(hello(), fd=[number]) as app:
        assert (app.server.host, app.server.port) == (host, port)
        assert app.url == (
            f"http://{host}:{port}" if ":" not in host else f"http://[{host}]:{port}"
        )
        assert not os.get_inheritable(number)
        assert (await app.get("/")).text == "hello"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


async def test_several_sockets_of_any_kind_may_be_inherited(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    ports = [tcp(), tcp()]
    addresses = [sock.getsockname() for sock in ports]
    both = Handle()
    both.get("/")(lambda request: "any")
    both.get("/", port=addresses[1][1])(lambda request: "second")
    async with serve(both, fd=[sock.detach() for sock in (unix, *ports)]) as server:
        assert (server.url, server.port) == (f"http+unix://{path}", 0)
        assert (await ask(server, request("/"))).body == b"any"
        for address, answer in zip(addresses, (b"any", b"second"), strict=True):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(request("/", "Connection: close"))
            assert (await reader.read()).endswith(answer)
            writer.close()
            await writer.wait_closed()
    assert path.exists()  # whoever made it removes it


async def test_an_inherited_socket_of_both_families_tells_ipv4_addresses_as_such() -> None:
    """What systemd opens for `ListenStream=80`."""
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = sock.getsockname()[1]
    handle = Handle()
    handle.get("/")(lambda request: [request.client[0], request.scheme])
    async with serve(handle, fd=[sock.detach()], trusted_proxies=["127.0.0.1"]):
        for host, header, client in (
            ("127.0.0.1", "X: y", b"127.0.0.1"),
            ("::1", "X-Forwarded-For: 203.0.113.9", b"::1"),
            ("127.0.0.1", "X-Forwarded-For: 203.0.113.9", b"203.0.113.9"),
        ):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(request("/", header, "Connection: close"))
            assert (await reader.read()).endswith(b'["%s","http"]' % client)
            writer.close()
            await writer.wait_closed()


async def test_a_unix_socket_without_a_file_may_be_inherited() -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0wsgroups-{os.getpid()}")
    sock.listen()
    async with serve(hello(), fd=[sock.detach()]) as server:
        assert server.url == f"http+unix://@wsgroups-{os.getpid()}"
        assert (await ask(server, request("/"))).body == b"hello"


def pipe() -> list[int]:
    return list(os.pipe())


def datagram() -> list[int]:
    return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()]


def not_listening() -> list[int]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return [sock.detach()]


def connected() -> list[int]:
    return [sock.detach() for sock in socket.socketpair()]


def netlink() -> list[int]:
    return [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).detach()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pipe, "it is no socket"),
        (datagram, "it is no stream socket"),
        (not_listening, "it does not listen"),
        (connected, "it does not listen"),
        (netlink, "it is neither a TCP nor a Unix socket"),
    ],
)
async def test_a_descriptor_that_nobody_can_connect_to_is_refused_and_left_alone(
    make: Callable[[], list[int]], message: str
) -> None:
    numbers = make()
    with tcp() as good:
        fd = [good.fileno(), numbers[0]]
        with pytest.raises(OSError, match=f"descriptor {numbers[0]}: {message}"):
            await serve(hello(), fd=fd).start()
        for number in numbers:
            os.close(number)
        with socket.create_connection(good.getsockname()):
            pass


@pytest.mark.parametrize("number", [10_000, 1 << 40])
async def test_a_descriptor_that_is_not_open_is_named(number: int) -> None:
    with pytest.raises(OSError, match=f"descriptor {number}: it is not open"):
        await serve(hello(), fd=[number]).start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fd": 3}, "fd must be a list, not 3"),
        ({"fd": "systemd"}, "fd must be a list, not 'systemd'"),
        ({"fd": [-1]}, "fd must be numbers, 'systemd' or 'systemd:NAME', not -1"),
        ({"fd": ["tcp"]}, "fd must be numbers, 'systemd' or 'systemd:NAME', not 'tcp'"),
        ({"fd": [3, 3]}, "fd must be a list without repetitions"),
        ({"fd": [3], "uds": "a.sock"}, "fd must be empty with uds"),
        ({"uds_mode": 0o660}, "uds_mode must be None without uds"),
        ({"uds_owner": "root"}, "uds_owner must be None without uds"),
        ({"uds": "a.sock", "uds_mode": 660}, "uds_mode must be 0 to 0o777, not 660"),
        ({"uds": "a.sock", "reuse_port": True}, "reuse_port must be False with uds or fd"),
        ({"fd": [3], "reuse_port": True}, "reuse_port must be False with uds or fd"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerConfig(**options)


# --- addresses ------------------------------------------------------------------------------


async def test_no_host_is_every_address_of_both_families() -> None:
    async with serve(hello(), host="", port=0) as server:
        assert {sock.family for sock in server.sockets} == {socket.AF_INET, socket.AF_INET6}
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, server.port)):
                pass
        assert server.url in (f"http://127.0.0.1:{server.port}", f"http://[::1]:{server.port}")


async def test_two_colons_are_ipv6_alone() -> None:
    async with serve(hello(), host="::", port=0) as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert (await ask(server, request("/"))).body == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


async def test_a_shared_port_is_served_by_all_who_share_it() -> None:
    async with serve(hello("one"), port=0, reuse_port=True) as first:
        with pytest.raises(OSError, match="another program"):
            await serve(hello("three"), port=first.port).start()
        async with serve(hello("two"), port=first.port, reuse_port=True):
            answers = {(await ask(first, request("/"))).body for _ in range(64)}
    assert answers == {b"one", b"two"}  # each by chance: all 64 to one of them is 2 to the -63


def inside(preparation: str = "true") -> list[str]:
    """What starts a program in a network of its own, where only the loopback interface is."""
    script = (
        f'{preparation} && ip link set lo up && ip address add fe80::1/64 dev lo nodad && exec "$@"'
    )
    return ["unshare", "--net", "--mount", "sh", "-c", script, "sh"]


def can_be_inside() -> bool:
    """True when this user may make such a network."""
    try:
        return subprocess.run([*inside(), "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_namespaces = pytest.mark.skipif(
    not can_be_inside(), reason="this user may not make a network of its own"
)


CONNECTS = """
import asyncio, sys, wsgroups

handle = wsgroups.Handle()


@handle.get("/")
def enter(request):
    print("from", request.client[0])
    request.send_upgrade("room")
    return wsgroups.HandlerStatus.HANDLED


async def main(host):
    async with wsgroups.serve(handle, host=host, port=8080) as server:
        print(server.url, [sock.getsockname()[0] for sock in server.sockets])
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n")
        await reader.readline()
        writer.close()


asyncio.run(main(sys.argv[1]))
"""


@needs_namespaces
def test_an_address_of_one_interface_is_served(tmp_path: Path) -> None:
    with Program("-c", CONNECTS, "fe80::1%lo", cwd=tmp_path, prefix=inside()) as program:
        assert program.wait() == 0, program.output
    assert program.output.startswith("http://[fe80::1%25lo]:8080 ['fe80::1']\nfrom fe80::1\n")


@needs_namespaces
def test_a_name_may_stand_for_an_address_that_the_machine_has_not(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 both\n2001:db8::1 both\n2001:db8::1 none\n")
    prefix = inside(f"mount --bind {tmp_path / 'hosts'} /etc/hosts")  # unshare made it private
    with Program("-c", CONNECTS, "both", cwd=tmp_path, prefix=prefix) as program:
        assert program.wait() == 0, program.output
    assert program.output.startswith("http://127.0.0.1:8080 ['127.0.0.1']\n")
    with Program("-c", CONNECTS, "none", cwd=tmp_path, prefix=prefix) as program:
        assert program.wait() == 1
    assert "cannot listen on 2001:db8::1 port 8080" in program.output


# --- for several workers --------------------------------------------------------------------


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", ""),
        ("::1", "::1"),
        ("::1", ""),
    ],
)
def test_workers_do_not_share_the_port_of_another_program(
    there: str, wanted: str, shares: bool
) -> None:
    other = open_sockets(ServerConfig(host=there, port=0, reuse_port=shares))
    try:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match="another program listens there"):
            open_for_workers(ServerConfig(host=wanted, port=port, workers=2))
    finally:
        other.close()


def test_nobody_can_connect_to_what_looks_whether_a_port_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listened: list[socket.socket] = []

    class Recorded(socket.socket):
        def listen(self, *backlog: int) -> None:
            listened.append(self)
            super().listen(*backlog)

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    monkeypatch.setattr(socket, "socket", Recorded)
    opened = open_for_workers(ServerConfig(port=port, workers=2))
    try:
        assert listened == [sock for each in opened for sock in each.sockets]
    finally:
        for each in opened:
            each.close()


# --- the command line -----------------------------------------------------------------------


def test_mode_and_owner_are_flags(folder: Path) -> None:
    owner = f"{os.geteuid()}:{os.getegid()}"
    arguments = ("--uds", "a.sock", "--uds-mode", "660", "--uds-owner", owner)
    with command(folder, *arguments) as program:
        program.wait_for("listening on http\\+unix://a.sock")
        assert stat.S_IMODE((folder / "a.sock").stat().st_mode) == 0o660
        assert echoes(unix_connect(str(folder / "a.sock"), "ws://test/"))


def test_inherited_descriptors_are_flags(folder: Path) -> None:
    with tcp() as one, tcp() as two:
        numbers = (one.fileno(), two.fileno())
        flags = [flag for number in numbers for flag in ("--fd", str(number))]
        with command(folder, *flags, pass_fds=numbers) as program:
            assert program.port() == one.getsockname()[1]
            for sock in (one, two):
                assert echoes(connect(f"ws://127.0.0.1:{sock.getsockname()[1]}/"))
            program.send_signal(signal.SIGTERM)
            assert program.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--uds", "a.sock", "--uds-mode", "rw"], "'rw' is no octal number, such as 660"),
        (["--uds", "a.sock", "--uds-owner", "no-such"], "there is no user 'no-such'"),
        (["--fd", "3"], "cannot listen on descriptor 3"),
        (["--fd", "tcp"], "'systemd:NAME', not 'tcp'"),
        (["--fd", "3", "--reload"], "--fd and --reload"),
        (["--fd", "systemd"], "systemd has passed no socket to this process: start it by"),
    ],
)
def test_a_wrong_flag_is_explained_in_a_line(
    folder: Path, arguments: list[str], message: str
) -> None:
    with command(folder, *arguments) as program:
        assert program.wait() in (1, 2)
    assert message in " ".join(program.output.replace("│", "").split())
    assert "Traceback" not in program.output


# --- systemd --------------------------------------------------------------------------------


@contextlib.contextmanager
def passed(*paths: Path) -> Iterator[list[str]]:
    """What starts a program with Unix sockets as descriptors 3 and so on, as systemd does.

    The number of the process is known only inside it, which is why a shell is needed.
    """
    with contextlib.ExitStack() as stack:
        redirections = []
        for i, path in enumerate(paths):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.bind(str(path))
            sock.listen()
            high = stack.enter_context(_above(sock, 50))
            redirections.append(f"{3 + i}<&{high}")
            os.set_inheritable(high, True)
        script = f'LISTEN_PID=$$ LISTEN_FDS={len(paths)} exec "$@" {" ".join(redirections)}'
        yield ["bash", "-c", script, "bash"]


@contextlib.contextmanager
def _above(sock: socket.socket, least: int) -> Iterator[int]:
    """A copy of a descriptor with a number so high that it is in nobody's way."""
    import fcntl

    number = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, least)
    try:
        yield number
    finally:
        os.close(number)


def fds(prefix: list[str]) -> list[int]:
    """The descriptors that a prefix of `passed` redirects."""
    return [int(word.partition("<&")[2]) for word in prefix[2].split() if "<&" in word]


def test_sockets_are_taken_from_systemd(folder: Path) -> None:
    paths = [folder / "one.sock", folder / "two.sock"]
    with (
        passed(*paths) as prefix,
        command(folder, "--fd", "systemd", prefix=prefix, pass_fds=fds(prefix)) as program,
    ):
        program.wait_for(f"listening on http\\+unix://{paths[0]}")
        for path in paths:
            assert echoes(unix_connect(str(path), "ws://test/"))
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(paths[0]))
            plain.sendall(request("/", "Connection: close"))
            plain.settimeout(PATIENCE)
            answer = b"".join(iter(lambda: plain.recv(1000), b""))
        assert answer.endswith(b"\r\n\r\n")  # no LISTEN_ variable is left for programs we start
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
    assert all(path.exists() for path in paths)


def test_sockets_from_systemd_have_names_and_are_given_out_once(folder: Path) -> None:
    (folder / "two.py").write_text(
        "import asyncio, wsgroups\n"
        "from app import handle\n"
        "async def main():\n"
        "    inside = wsgroups.serve(handle, fd=['systemd:inside'])\n"
        "    async with wsgroups.serve(handle, fd=['systemd:web']) as web, inside:\n"
        "        print(web.url, inside.url)\n"
        "        for name in ('systemd:web', 'systemd:other', 'systemd'):\n"
        "            try:\n"
        "                await wsgroups.serve(handle, fd=[name]).start()\n"
        "            except OSError as error:\n"
        "                print(error)\n"
        "asyncio.run(main())\n"
    )
    paths = [folder / name for name in ("a.sock", "b.sock", "c.sock")]
    with (
        passed(*paths) as prefix,
        Program(
            "two.py",
            cwd=folder,
            prefix=prefix,
            pass_fds=fds(prefix),
            variables={"LISTEN_FDNAMES": "web:inside:spare"},
        ) as program,
    ):
        assert program.wait() == 0, program.output
    urls, again, other, *rest = program.output.splitlines()
    assert urls == f"http+unix://{paths[0]} http+unix://{paths[1]}"
    assert again == "systemd has passed no socket named 'web'; it has passed 'spare'"
    assert other == "systemd has passed no socket named 'other'; it has passed 'spare'"
    assert rest == []  # what is left was had by "systemd"


def test_sockets_that_systemd_has_passed_to_another_process_are_not_taken(folder: Path) -> None:
    variables = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    with command(folder, "--fd", "systemd", variables=variables) as program:
        assert program.wait() == 1
    assert "systemd has passed no socket to this process" in program.output


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="there is no systemd on this machine"
)
def test_a_first_connection_starts_the_server_by_systemd(folder: Path) -> None:
    path = folder / "a.sock"
    prefix = ["systemd-socket-activate", "--listen", str(path), "--fdname", "web"]
    for name in ("PYTHONPATH", "PYTHONUNBUFFERED"):
        prefix += ["--setenv", name]
    with command(folder, "--fd", "systemd:web", prefix=prefix) as program:
        program.wait_for("Listening on")
        assert echoes(unix_connect(str(path), "ws://test/"))
        program.wait_for(f"listening on http\\+unix://{path}")
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0


# --- sd_notify ------------------------------------------------------------------------------


@pytest.mark.parametrize("has_file", [True, False])
def test_a_service_manager_is_told_when_it_listens_and_when_it_stops(
    folder: Path, has_file: bool
) -> None:
    path = folder / "notify"
    name = str(path) if has_file else f"@wsgroups-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(PATIENCE)
        with command(folder, "--port", "0", variables={"NOTIFY_SOCKET": name}) as program:
            assert manager.recv(100) == b"READY=1"
            port = program.port()
            with connect(f"ws://127.0.0.1:{port}/") as client:
                program.send_signal(signal.SIGTERM)
                assert manager.recv(100) == b"STOPPING=1"
                with contextlib.suppress(Exception):
                    client.recv(PATIENCE)
            assert program.wait() == 0


def test_a_service_manager_that_is_gone_changes_nothing(folder: Path) -> None:
    variables = {"NOTIFY_SOCKET": str(folder / "nobody")}
    with command(folder, "--port", "0", variables=variables) as program:
        port = program.port()
        program.wait_for("the service manager could not be told READY=1")
        assert echoes(connect(f"ws://127.0.0.1:{port}/"))
        program.send_signal(signal.SIGTERM)
        assert program.wait() == 0
