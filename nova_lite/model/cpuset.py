"""CPU lists as nova.conf, extra specs and Linux write them: ``0-3,^2,7``."""

from __future__ import annotations

from collections.abc import Iterable


def parse_cpus(text: str) -> frozenset[int]:
    """Numbers and ranges separated by commas; ``^`` takes a number or range away again.

    :raises ValueError: an element is neither a number nor an ascending range
    """
    wanted: set[int] = set()
    unwanted: set[int] = set()
    for element in filter(None, (part.strip() for part in text.split(","))):
        target = unwanted if element.startswith("^") else wanted
        first, dash, last = element.lstrip("^").partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            raise ValueError(f"{element!r} is not a CPU number or a range like 4-7") from None
        if low < 0 or high < low:
            raise ValueError(f"{element!r} is not an ascending range")
        target.update(range(low, high + 1))
    return frozenset(wanted - unwanted)


def format_cpus(cpus: Iterable[int]) -> str:
    """The shortest list for ``cpus``: ``0-3,7``."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in runs)
