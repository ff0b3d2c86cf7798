"""Metrics as a file for the textfile collector of Prometheus' node_exporter."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nova_lite.drivers.metrics.base import Metrics
from nova_lite.errors import InvalidConfiguration

LOG = logging.getLogger(__name__)

PREFIX = "nova_lite_"
# Seconds in which changes are collected into one write: Prometheus looks every 15 or more.
SETTLE = 5.0
SUFFIX = ".prom"  # the collector reads nothing else

Series = tuple[str, tuple[tuple[str, str], ...]]


class TextfileMetrics(Metrics):
    """Writes [nova_lite]metrics_file some seconds after a change, and never while idle."""

    def __init__(self, conf: Any) -> None:
        """:raises InvalidConfiguration: no file is named, or one that the collector ignores"""
        name = conf.nova_lite.metrics_file
        if not name or not name.endswith(SUFFIX):
            raise InvalidConfiguration(
                f"[nova_lite]metrics_file is {name!r}; name a file that ends in {SUFFIX} in the "
                "directory of node_exporter's option --collector.textfile.directory"
            )
        self._path = Path(name)
        self._lock = threading.Lock()  # of the numbers; never held while the disk is waited for
        self._writing = threading.Lock()
        self._values: dict[Series, float] = {}
        self._timer: threading.Timer | None = None

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1.0) -> None:
        series = (name, tuple(sorted(labels.items())))
        with self._lock:
            self._values[series] = self._values.get(series, 0.0) + amount
            if self._timer is not None:
                return
            self._timer = threading.Timer(SETTLE, self._write)
            self._timer.daemon = True
            timer = self._timer
        timer.start()

    def close(self) -> None:
        with self._lock:
            pending, self._timer = self._timer, None
        if pending is not None:
            pending.cancel()
            self._write()

    def _write(self) -> None:
        with self._writing:
            with self._lock:
                self._timer = None
                text = render(self._values)
            partial = self._path.with_name(f".{self._path.name}.part")
            try:
                partial.write_text(text, encoding="utf-8")
                os.chmod(partial, 0o644)  # the collector runs as another user
                partial.replace(self._path)
            except OSError as error:
                LOG.warning("Cannot write [nova_lite]metrics_file %s: %s",
                            self._path, error.strerror)  # fmt: skip


def render(values: Mapping[Series, float]) -> str:
    """The text exposition format of Prometheus, version 0.0.4."""
    lines, described = [], None
    for (name, labels), value in sorted(values.items()):
        if name != described:
            lines.append(f"# TYPE {PREFIX}{name} counter")
            described = name
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{PREFIX}{name}{{{pairs}}} {value:.10g}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
