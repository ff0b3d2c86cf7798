"""A program: connector properties of this host as JSON, by os-brick; see ``host_connector``."""

from __future__ import annotations

import json
import logging
import sys
from types import SimpleNamespace
from typing import Any


def main() -> int:
    """Read the question from standard input, write the properties to standard output."""
    question = json.load(sys.stdin)
    logging.basicConfig(level=logging.ERROR)
    sys.stdout, answer = sys.stderr, sys.stdout  # libraries may print
    try:
        found = _properties(question)
    except Exception as error:  # os-brick lets anything through; the parent shows the last line
        sys.stderr.write((str(error).strip().replace("\n", " ") or repr(error)) + "\n")
        return 1
    json.dump(found, answer)
    return 0


def _properties(question: dict[str, Any]) -> dict[str, Any]:
    from nova_lite.drivers.volume import os_brick_setup

    os_brick_setup.initialize(
        SimpleNamespace(
            config_file=question["config_file"],
            config_dir=question["config_dir"],
            oslo_concurrency=SimpleNamespace(lock_path=question["lock_path"]),
            state_path=question["state_path"],
        )
    )
    from os_brick.initiator import connector

    found: dict[str, Any] = connector.get_connector_properties(
        os_brick_setup.ROOT_HELPER,
        question["ip"],
        question["multipath"],
        enforce_multipath=True,  # as nova-compute: no multipathd, no multipath
        host=question["host"],
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
