"""The pages of docs/coming-from show the programs that the other tests here run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORTED = ROOT / "examples" / "ported"
PAGES = ROOT / "docs" / "coming-from"
SYSTEMS = sorted(path.name for path in PORTED.iterdir() if any(path.glob("*.py")))


def test_each_system_has_a_page_and_a_test() -> None:
    assert sorted(page.stem for page in PAGES.glob("*.md")) == sorted([*SYSTEMS, "index"])
    tests = {path.stem for path in Path(__file__).parent.glob("test_*.py")}
    assert {f"test_{system}" for system in SYSTEMS} <= tests


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_page_shows_each_program_beside_the_original(system: str) -> None:
    text = (PAGES / f"{system}.md").read_text()
    shown = re.findall(r'^    --8<-- "(.+)"$', text, re.MULTILINE)
    programs = [str(path.relative_to(ROOT)) for path in PORTED.joinpath(system).glob("*.py")]
    assert sorted(shown) == sorted(programs)
    assert len(shown) >= 3
    assert f"examples/ported/{system}/chat.py" in shown
    originals = re.findall(r"^    ```(?:csharp|\{\.python \.theirs\})$", text, re.MULTILINE)
    assert len(originals) == len(shown)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_test_runs_each_program(system: str) -> None:
    text = (Path(__file__).parent / f"test_{system}.py").read_text()
    imported = re.search(rf"^from examples\.ported\.{system} import (.+)$", text, re.MULTILINE)
    assert imported is not None
    programs = sorted(path.stem for path in PORTED.joinpath(system).glob("*.py"))
    assert sorted(imported[1].split(", ")) == programs
