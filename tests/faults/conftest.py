"""Namespaces of the network are for who may make them; the same faults are tested in memory too."""

import shutil
import subprocess


def _can_make_namespaces() -> bool:
    """True when this user may make a namespace with a link in it."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    probe = ["unshare", "--net", "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


collect_ignore = [] if _can_make_namespaces() else ["test_namespaces.py"]
