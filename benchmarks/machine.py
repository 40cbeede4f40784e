"""What the figures were measured on, as far as it matters for reading them."""

import os
import platform
from pathlib import Path


def describe_machine() -> dict[str, str]:
    """Return processor, cores, system and interpreter; nothing that names the machine."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
