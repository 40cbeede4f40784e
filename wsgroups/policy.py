"""Every option, once. Command line, keyword arguments and documentation are made from these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any, Literal, get_args

from wsgroups.errors import did_you_mean

SlowConsumer = Literal["disconnect", "drop_newest", "drop_oldest", "conflate", "wait", "block"]

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

DriverName = Literal["auto", "epoll", "transports"]


def option(
    default: Any,
    help: str,
    read: Callable[[str], Any] | None = None,
    *,
    in_command: bool = True,
    repr: bool = True,
) -> Any:
    """Return a dataclass field with its explanation.

    Args:
        default: its default.
        help: what it is.
        read: makes its value of a flag's text; None: by its type.
        in_command: the command line has it too.
        repr: it may be shown.
    """
    metadata = {"help": help, "read": read, "in_command": in_command}
    return field(default=default, repr=repr, metadata=metadata)


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"{text!r} is no octal number, such as 660") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def _descriptor(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How a group compresses messages (permessage-deflate, RFC 7692), with clients that can.

    Attributes:
        level: 1 for speed to 9 for size.
        window_bits: 9 to 15: matches are looked for in the last 2**bits bytes.
        memory_level: 1 to 9: how much memory compressing takes.
        context_takeover: keep both windows from message to message. Better for many small messages
            that are alike; 11 KB to over 100 KB a socket, and group sends are compressed for each
            member.
        threshold: bytes; smaller messages go as they are.
        max_ratio: a message of more than 64 KiB that is inflated to more than so many times its
            size closes with 1009.
    """

    level: int = 3
    window_bits: int = 12
    memory_level: int = 5
    context_takeover: bool = False
    threshold: int = 256
    max_ratio: int = 100

    @classmethod
    def of(cls, chosen: Compression | bool) -> Compression | None:
        """Return what an option that may also be True or False means."""
        if isinstance(chosen, Compression):
            return chosen
        return cls() if chosen else None

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming them."""
        for name, least, most in (
            ("level", 1, 9),
            ("window_bits", 9, 15),
            ("memory_level", 1, 9),
            ("threshold", 0, 1 << 62),
            ("max_ratio", 1, 1 << 30),
        ):
            value = getattr(self, name)
            _require(least <= value <= most, name, f"{least} to {most}", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPolicy:
    """What holds for the sockets of one group. Sizes are bytes, times are seconds."""

    max_message_size: int = option(1 << 20, "largest message; a larger one closes with 1009")
    max_fragments: int = option(4096, "most frames of one message; more close with 1008")
    ping_interval: float | None = option(20.0, "ping after so long without a byte; None: never")
    ping_timeout: float | None = option(20.0, "close when a ping is not answered for so long")
    close_timeout: float = option(5.0, "how long the peer may take to answer a Close frame")
    message_timeout: float | None = option(
        60.0, "how long a message may take to come in; then 1008; None: for ever"
    )
    max_messages_per_second: float | None = option(
        None, "most messages a second of one socket; more close with 1008; None: any number"
    )
    max_bytes_per_second: float | None = option(
        None, "most payload bytes a second of one socket; more close with 1008; None: any number"
    )
    rate_burst: float = option(5.0, "seconds' worth of messages and bytes that may come at once")
    write_high_water: int = option(64 << 10, "unsent bytes from which send returns BUFFERED")
    write_limit: int = option(1 << 20, "most unsent bytes; then slow_consumer decides")
    slow_consumer: SlowConsumer = option(
        "disconnect",
        "at write_limit: 'disconnect' closes with 1013, 'drop_newest' and 'drop_oldest' drop, "
        "'conflate' keeps the newest message of each key, 'wait' (or 'block') lets threads wait",
    )
    max_queued_events: int = option(
        64, "messages that wait behind a suspended handler before reading stops"
    )
    handler_grace: float = option(
        5.0, "how long a suspended handler may go on after its socket has closed"
    )
    cancel_on_disconnect: bool = option(
        False, "cancel the suspended handler of a message as soon as its socket has closed"
    )
    orphans: bool = option(
        False, "when a worker is killed, call its sockets' disconnect handlers in another one"
    )
    compression: Compression | bool = option(
        False, "compress with clients that can: True, or a Compression that says how"
    )
    origins: Collection[str] | None = option(
        None, "origins that may connect, '*' for all; None: what the Handle says"
    )
    subprotocols: Collection[str] = option((), "subprotocols spoken, the preferred one first")

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming them."""
        if self.slow_consumer == "block":
            object.__setattr__(self, "slow_consumer", "wait")
        for name in ("max_message_size", "max_fragments", "write_limit", "max_queued_events"):
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        _require(
            0 < self.write_high_water <= self.write_limit,
            "write_high_water",
            "above 0 and at most write_limit",
            self.write_high_water,
        )
        for name in ("close_timeout", "handler_grace", "rate_burst"):
            value = getattr(self, name)
            _require(value is not None and value > 0, name, "above 0", value)
        for name in (
            "ping_interval",
            "ping_timeout",
            "message_timeout",
            "max_messages_per_second",
            "max_bytes_per_second",
        ):
            value = getattr(self, name)
            _require(value is None or value > 0, name, "above 0, or None", value)
        _require(
            not self.keeps_windows or self.slow_consumer not in ("drop_oldest", "conflate"),
            "slow_consumer",
            "another with context_takeover, where no message may be taken out of the queue: "
            "'disconnect', 'drop_newest' or 'wait'",
            self.slow_consumer,
        )
        _require(
            self.slow_consumer in get_args(SlowConsumer),
            "slow_consumer",
            f"one of {', '.join(get_args(SlowConsumer))}",
            self.slow_consumer,
        )

    def changed(self, options: Mapping[str, Any]) -> GroupPolicy:
        """Return a policy with some options changed.

        A lone origin or subprotocol stands for a list of it. A `write_limit` below the
        `write_high_water` in force takes that down with it.

        Raises:
            TypeError: for an option that does not exist.
            ValueError: for a value that cannot work.
        """
        options = dict(options)
        check_options(GroupPolicy, options)
        options.update(
            (name, (options[name],))
            for name in ("origins", "subprotocols")
            if isinstance(options.get(name), str)
        )
        if options.get("origins") is not None:  # slashes at the end are a usual slip
            options["origins"] = frozenset(each.rstrip("/") for each in options["origins"])
        if "write_limit" in options:
            options.setdefault(
                "write_high_water", min(self.write_high_water, options["write_limit"])
            )
        return replace(self, **options)

    @property
    def keeps_windows(self) -> bool:
        """True when messages are compressed with what the ones before have in common with them."""
        return isinstance(self.compression, Compression) and self.compression.context_takeover


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What holds for one server. Sizes are bytes, times are seconds."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8080, "port to listen on; 0 picks a free one")
    uds: str | None = option(None, "path of a Unix socket to listen on instead")
    uds_mode: int | None = option(
        None, "permissions of that socket, 660 for example; None: by the umask", _octal
    )
    uds_owner: str | None = option(None, "its owner: 'user', 'user:group' or ':group'")
    fd: Collection[int | str] = option(
        (), "inherited sockets to listen on instead: numbers, or 'systemd'", _descriptor
    )
    workers: int = option(1, "processes that share the port, the groups and the ids; 1 to 32")
    bus: str | None = option(
        None,
        "what joins nodes, nats://host or redis://host; or unix:/path for scripts of this host",
    )
    node: int | None = option(
        None, "this node's number on the bus, 1 to 1023; None: any free one", _whole
    )
    health_path: str | None = option(None, "path that tells whether all is well; None: nowhere")
    reuse_port: bool = option(False, "let other processes listen on the same port (SO_REUSEPORT)")
    backlog: int = option(2048, "connections the kernel keeps waiting")
    driver: DriverName = option(
        "auto", "what moves the bytes: 'epoll' on Linux, 'transports' anywhere; 'auto': the faster"
    )
    handshake_timeout: float = option(10.0, "from accept to the end of the request")
    keep_alive_timeout: float = option(5.0, "how long a connection may wait between requests")
    drain_timeout: float = option(30.0, "how long closing sockets may take at shutdown")
    restart: bool = option(
        False, "it comes back when it stops: sockets are closed with 1012 in place of 1001"
    )
    max_header_line: int = option(8 << 10, "longest request line (414) and header (431)")
    max_head_size: int = option(32 << 10, "longest request line and headers together (431)")
    max_headers: int = option(100, "most headers (431)")
    max_body_size: int = option(1 << 20, "longest request body (413)")
    max_total_write_buffer: int = option(
        0, "unsent bytes of the whole process; then the slowest peers go; 0: a quarter of memory"
    )
    max_connections: int = option(0, "most connections at a time (503); 0: as descriptors allow")
    max_connections_per_ip: int = option(
        0, "most connections of one address, or one IPv6 /64 (503); 0: any number"
    )
    max_handshakes_in_progress: int = option(
        1000, "most connections whose first request is not complete (503); 0: any number"
    )

    trusted_proxies: Collection[str] = option(
        (), "proxies whose word on clients is taken: addresses, networks, 'unix', or '*' for all"
    )
    forwarded_header: ForwardedHeader = option(
        "x-forwarded-for", "the header that they set, with -proto and -host; or 'forwarded'"
    )
    proxy_protocol: bool = option(
        False, "connections of trusted_proxies begin with a PROXY header, version 1 or 2"
    )

    ssl_certfile: str | None = option(
        None, "PEM file with the certificate and those that lead to its root; serves TLS"
    )
    ssl_keyfile: str | None = option(
        None, "PEM file with the certificate's private key; None: it is in ssl_certfile"
    )
    ssl_keyfile_password: str | None = option(
        None, "password of the private key; None: it has none", repr=False
    )
    ssl_ca_certs: str | None = option(
        None, "PEM file of authorities; clients must show a certificate that one of them signed"
    )
    ssl: SSLContext | None = option(
        None, "an ssl.SSLContext to serve TLS with, instead of the files", in_command=False
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming them."""
        self._check_sockets()
        _require(
            not isinstance(self.trusted_proxies, str),
            "trusted_proxies",
            "a list",
            self.trusted_proxies,
        )
        _require(
            self.driver in get_args(DriverName),
            "driver",
            f"one of {', '.join(get_args(DriverName))}",
            self.driver,
        )
        _require(
            self.forwarded_header in get_args(ForwardedHeader),
            "forwarded_header",
            "'x-forwarded-for' or 'forwarded'",
            self.forwarded_header,
        )
        _require(
            bool(self.trusted_proxies) or not self.proxy_protocol,
            "proxy_protocol",
            "False without trusted_proxies",
            self.proxy_protocol,
        )
        for name in ("ssl_certfile", "ssl_keyfile", "ssl_keyfile_password", "ssl_ca_certs"):
            value = getattr(self, name)
            rule = "None with ssl: the context has it" if self.ssl else "None without ssl_certfile"
            holds = value is None or (not self.ssl and self.ssl_certfile is not None)
            _require(holds, name, rule, "a password" if name.endswith("password") else value)
        _require(
            self.ssl is None or self.ssl.protocol != PROTOCOL_TLS_CLIENT,
            "ssl",
            "a context for servers, as ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) is",
            self.ssl,
        )
        for name in (
            "max_total_write_buffer",
            "max_connections",
            "max_connections_per_ip",
            "max_handshakes_in_progress",
        ):
            _require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        _require(0 <= self.port <= 65535, "port", "0 to 65535", self.port)
        path = self.health_path
        if path is not None and not path.startswith("/"):
            raise ValueError(f'health_path must begin with "/": "/{path}"')
        _require(1 <= self.workers <= 32, "workers", "1 to 32", self.workers)
        self._check_node()
        for name in ("handshake_timeout", "keep_alive_timeout", "drain_timeout"):
            _require(getattr(self, name) > 0, name, "above 0", getattr(self, name))

    def _check_node(self) -> None:
        """Refuse a number where none is needed, and 0, which stands for a node that is alone."""
        if self.node is None:
            return
        if self.bus is None or self.bus.startswith("unix:"):
            raise ValueError("node needs a bus with a broker, nats://... or redis://...")
        _require(1 <= self.node < 1024, "node", "1 to 1023", self.node)

    def _check_sockets(self) -> None:
        """Refuse descriptors that are none, and options that say two things about one socket."""
        fd, is_list = self.fd, isinstance(self.fd, Collection) and not isinstance(self.fd, str)
        _require(is_list, "fd", "a list", fd)
        for each in fd:
            is_known = each.partition(":")[0] == "systemd" if isinstance(each, str) else each >= 0
            _require(is_known, "fd", "numbers, 'systemd' or 'systemd:NAME'", each)
        _require(len(set(fd)) == len(fd), "fd", "a list without repetitions", fd)
        _require(not fd or self.uds is None, "fd", "empty with uds: it is one or the other", fd)
        _require(
            not self.reuse_port or (self.uds is None and not fd),
            "reuse_port",
            "False with uds or fd: only ports that are opened here can be shared",
            self.reuse_port,
        )
        for name in ("uds_mode", "uds_owner"):
            value = getattr(self, name)
            _require(value is None or self.uds is not None, name, "None without uds", value)
        mode = self.uds_mode
        _require(mode is None or 0 <= mode <= 0o777, "uds_mode", "0 to 0o777", mode)


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {rule}, not {value!r}")


def check_options(kind: type[GroupPolicy] | type[ServerConfig], given: dict[str, Any]) -> None:
    """Raise TypeError for an option that does not exist, with the nearest one that does."""
    names = [f.name for f in fields(kind)]
    for name in given:
        if name not in names:
            raise TypeError(f"there is no option {name!r}{did_you_mean(name, names)}")
