"""What is behind each case that is not OK; every one needs its sentence."""

from __future__ import annotations

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

REASONS: dict[Side, dict[str, str]] = {"server": _INFORMATIONAL, "client": _INFORMATIONAL}
