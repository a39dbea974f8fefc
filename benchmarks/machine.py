"""Where a result was measured: commit, machine, file system, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("praison_store", "orjson", "filelock", "praisonaiagents", "openai-agents", "langchain-community")
RESTED_NS = 60_000


def facts(directory: Path) -> dict[str, Any]:
    """Return what a reader must know to judge a result measured in a directory."""
    return {
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": {
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": _memory_gib(),
            "load_before": os.getloadavg()[0],
        },
        "file_system": file_system(directory),
        "making_a_file_us": round(making_a_file_ns(directory) / 1000, 1),
        "versions": {name: version(name) for name in PACKAGES},
    }


def making_a_file_ns(directory: Path) -> int:
    """Return what making one empty file takes: the median of a hundred, which are removed."""
    samples_ns = []
    for number in range(100):
        start_ns = time.perf_counter_ns()
        descriptor = os.open(directory / f"{number}.probe", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        samples_ns.append(time.perf_counter_ns() - start_ns)
        os.close(descriptor)
        os.unlink(directory / f"{number}.probe")
    return sorted(samples_ns)[50]


def wait_for_rest(directory: Path) -> None:
    """Wait, a minute at most, until a new file is made at once: whoever removed many files leaves it slow a while."""
    for _ in range(30):
        if making_a_file_ns(directory) < RESTED_NS:
            return
        time.sleep(2)


def version(package: str) -> str:
    """Return the installed version of a package, or `missing`."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def file_system(directory: Path) -> str:
    """Return the type, the options and the device of a directory's file system, as the system lists them."""
    try:
        mounts = [line.split()[:4] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    real = directory.resolve()
    holding = [mount for mount in mounts if real.is_relative_to(mount[1])]
    if not holding:
        return "unknown"
    device, _, kind, options = max(holding, key=lambda mount: len(mount[1]))
    return f"{kind} {options} on {device}"


def _commit() -> str:
    source = Path(__file__).parent
    try:
        commit = _output("git", "-C", str(source), "rev-parse", "--short=12", "HEAD")
        changed = _output("git", "-C", str(source.parent), "status", "--porcelain", "--", "praison_store")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with uncommitted changes" if changed else commit


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
