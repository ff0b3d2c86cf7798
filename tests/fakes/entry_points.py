"""The entry points that setup.cfg of this tree declares, whatever is installed."""

from __future__ import annotations

import configparser
from importlib.metadata import EntryPoint
from pathlib import Path

SETUP = Path(__file__).parents[2] / "setup.cfg"


def declared(namespace: str) -> list[EntryPoint]:
    """Those of one namespace."""
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    pairs = [
        line.partition("=") for line in setup["entry_points"][namespace].splitlines() if line
    ]
    return [EntryPoint(name.strip(), value.strip(), namespace) for name, _, value in pairs]
