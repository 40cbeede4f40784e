"""What is behind each case that is not OK; every one needs its sentence."""

from __future__ import annotations

from conformance.flipping import FLIPPING
from conformance.runs import Side

_UNDEFINED_CODE = (
    "A Close with code {code}, for which the suite leaves the answer open; ours is a Close with "
    "1002."
)
_INFORMATIONAL = {
    "7.1.6": (
        "A large message, a small one, a Close and a ping behind one another; the suite only notes "
        "whether the messages are echoed before the Close is answered."
    ),
    "7.13.1": _UNDEFINED_CODE.format(code=5000),
    "7.13.2": _UNDEFINED_CODE.format(code=65535),
}
_TOO_MANY_FRAGMENTS = (
    "A message of {fragments:,} fragments: `connect` has no option for their number, and more than "
    "4,096 close with 1008."
)
_FAILS_BEFORE_THE_ECHO = (
    "A message and a bad frame in one read: the connection fails with 1002 before the task that "
    "echoes the message runs."
)

REASONS: dict[Side, dict[str, str]] = {
    "server": _INFORMATIONAL,
    "client": {
        **_INFORMATIONAL,
        **dict.fromkeys(FLIPPING["client"], _FAILS_BEFORE_THE_ECHO),
        **{
            case: _TOO_MANY_FRAGMENTS.format(fragments=fragments)
            for case, fragments in (
                ("9.3.1", 65_536),
                ("9.3.2", 16_384),
                ("9.4.1", 65_536),
                ("9.4.2", 16_384),
            )
        },
    },
}
