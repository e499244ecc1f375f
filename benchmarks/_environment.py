"""Where a figure was measured: machine, versions, and what else went on during the run."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import shmstore

PACKAGES = ("shmstore", "msgpack", "cffi", "msgspec", "numpy", "lmdb", "UltraDict", "diskcache", "pymemcache", "redis",
            "hiredis", "posix_ipc", "sysv_ipc")  # fmt: skip
_TICKS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")  # of /proc/stat; more follow


def environment(cores: list[int]) -> dict[str, str]:
    """What stays the same during a run, as text by title."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, run on core {cores[0]}",
        "kernel": f"{platform.system()} {platform.release()}, page size {os.sysconf('SC_PAGE_SIZE')}",
        "huge pages": f"enabled: {_chosen('enabled')}, shared memory: {_chosen('shmem_enabled')}",
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unknown",
        "python": f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})",
        "packages": ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))),
        "liblmdb": _liblmdb(),
        "shmstore": f"shmstore {shmstore.__version__} ({_compiler()})",
    }


class Load:
    """What the machine did besides, from the making of this object to `seen`."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = _ticks()
        self._mine = sum(os.times()[:4])

    def seen(self) -> dict[str, float]:
        """Shares are of one core; "others" is work that is neither this process's nor its children's."""
        seconds = max(time.monotonic() - self._began, 0.01)
        tick = os.sysconf("SC_CLK_TCK")
        now = _ticks()
        spent = {name: (now[name] - self._before[name]) / tick for name in now}
        busy = sum(spent.get(name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
        mine = sum(os.times()[:4]) - self._mine
        return {
            "seconds": round(seconds, 1),
            "load average": round(os.getloadavg()[0], 2),
            "steal": round(spent.get("steal", 0.0) / seconds, 3),
            "others": round(max(busy - mine, 0.0) / seconds, 3),
        }


def describe(load: dict[str, Any]) -> str:
    """What was seen, as a sentence, with what follows from it."""
    text = (
        f"{load['seconds']} s; load average {load['load average']}; other processes took {load['others']:.0%} of a "
        f"core, the hypervisor {load['steal']:.1%}"
    )
    if load["others"] > 0.2 or load["steal"] > 0.02:
        text += ". That is not a quiet machine: read the ratios, not the figures"
    return text


def _ticks() -> dict[str, int]:
    fields = _read("/proc/stat").partition("\n")[0].split()[1:]
    return dict(zip(_TICKS, map(int, fields)))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _chosen(setting: str) -> str:
    text = _read(f"/sys/kernel/mm/transparent_hugepage/{setting}")
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen[1] if chosen else "unknown"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _liblmdb() -> str:
    try:
        import lmdb
    except ImportError:
        return "not installed"
    return ".".join(map(str, lmdb.version()))


def _compiler() -> str:
    """The compiler leaves its name in the module, unless somebody has stripped it."""
    for module in Path(shmstore.__file__).parent.glob("_core*.so"):
        found = re.search(rb"(GCC: \([^)\0]*\) [\d.]+|clang version [\d.]+)", module.read_bytes())
        if found:
            return found[1].decode(errors="replace")
    return "compiler unknown"
