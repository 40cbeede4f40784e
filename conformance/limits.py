"""The limits under which the suite is run: raised, or nothing said.

Group 9 sends messages of 16 MiB and messages of 65,536 fragments. A ping of ours in the middle of a
case is none that the case expects.
"""

from __future__ import annotations

from typing import Any, Literal

from wsgroups import Compression

Limits = Literal["raised", "default"]

GROUP_OPTIONS: dict[Limits, dict[str, Any]] = {
    "raised": {
        "max_message_size": 16 << 20,
        "max_fragments": 70_000,
        "ping_interval": None,
        "write_limit": 64 << 20,
        "compression": Compression(threshold=0),  # cases with small messages want them compressed
    },
    "default": {"compression": Compression(threshold=0)},
}

CLIENT_OPTIONS: dict[Limits, dict[str, Any]] = {
    "raised": {
        "max_message_size": 16 << 20,
        "max_fragments": 70_000,
        "ping_interval": None,
        "compression": Compression(threshold=0),
    },
    "default": {"compression": Compression(threshold=0)},
}
