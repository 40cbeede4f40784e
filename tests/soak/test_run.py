"""A short run, stopped early: it reports what there is, and everything is as it was before."""

import json
import signal
from pathlib import Path

from tests.support import Program

ROOT = Path(__file__).parents[2]


def test_a_run_that_is_stopped_reports_what_there_is(tmp_path: Path) -> None:
    arguments = ("-m", "soak", "--seconds", "36", "--rate", "200", "--results", str(tmp_path))
    with Program(*arguments, cwd=ROOT) as program:
        program.wait_for(r"connections [1-9]")
        program.send_signal(signal.SIGTERM)
        program.wait()
    result = json.loads((tmp_path / "latest.json").read_text())
    assert result["stopped_early"]
    assert result["failure"] is None
    assert result["connections"] > 100
    assert min(result["endings"].values()) > 0
    failed = [v for v in result["verdicts"] if not v["passed"] and v["name"] != "resident memory"]
    assert failed == []
    assert "connections a second" in (tmp_path / "latest.md").read_text()
    assert (tmp_path / "latest.png").stat().st_size > 10_000
