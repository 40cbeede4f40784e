"""What came out of one case."""

from __future__ import annotations

from typing import NamedTuple

# Columns of the page, the best first; whatever else an engine says is a failure.
VERDICTS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED")


class Outcome(NamedTuple):
    """The engine's two verdicts, in its words.

    Attributes:
        behaviour: of the frames: OK, NON-STRICT, INFORMATIONAL, UNIMPLEMENTED, FAILED.
        closing: of the end: OK, INFORMATIONAL, FAILED, WRONG CODE, UNCLEAN, FAILED BY CLIENT.
    """

    behaviour: str
    closing: str

    def __str__(self) -> str:
        return f"{self.behaviour}, closing {self.closing}"

    @property
    def rank(self) -> int:
        """How bad the worse of the two is; 0 is best."""
        return max(VERDICTS.index(v) if v in VERDICTS else len(VERDICTS) - 1 for v in self)

    @property
    def verdict(self) -> str:
        """The worse of the two, one of `VERDICTS`."""
        return VERDICTS[self.rank]


Results = dict[str, Outcome]  # by case
