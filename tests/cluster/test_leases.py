"""Worker numbers: each to one process at a time, whatever becomes of that."""

import subprocess
import sys
from pathlib import Path

import pytest

from wsgroups.cluster.leases import NUMBERS, lease_number, private_directory, remove_directory

HOLDER = """
import sys, wsgroups.cluster.leases as leases
lease = leases.lease_number(sys.argv[1])
print(lease.number, flush=True)
sys.stdin.read()
"""


def test_numbers_are_given_once_and_the_lowest_first(tmp_path: Path) -> None:
    leases = [lease_number(str(tmp_path)) for _ in range(3)]
    assert [lease.number for lease in leases] == [0, 1, 2]
    leases[1].close()
    again = lease_number(str(tmp_path))
    assert again.number == 1
    for lease in (*leases, again):
        lease.close()


def test_when_all_are_taken_it_says_so(tmp_path: Path) -> None:
    leases = [lease_number(str(tmp_path)) for _ in range(NUMBERS)]
    with pytest.raises(OSError, match="all 64 worker numbers are taken"):
        lease_number(str(tmp_path))
    for lease in leases:
        lease.close()


def test_the_number_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"0\n"
    mine = lease_number(str(tmp_path))
    assert mine.number == 1
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    freed = lease_number(str(tmp_path))
    assert freed.number == 0
    mine.close()
    freed.close()


def test_the_directory_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = Path(private_directory())
    assert directory.parent == tmp_path
    assert directory.stat().st_mode & 0o777 == 0o700
    (directory / "hub").touch()
    remove_directory(str(directory))
    remove_directory(str(directory))
    assert not directory.exists()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    elsewhere = Path(private_directory())
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    remove_directory(str(elsewhere))
