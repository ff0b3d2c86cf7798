"""Record what a control plane of some release and compute services say to each other.

    python -m tests.wire.record --release 2025.1 --out tests/wire/data/2025.1 --minutes 20

Listens to the cloud of devstack/cloud while others use it; nothing is sent. Of each method that
differs from the recordings of the newest release a few small exchanges are written, without
secrets, and ``manifest.json`` says what was heard. --keep writes all that was heard to a file,
secrets included, from which --heard does the rest again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nova_lite.wire.releases import RELEASES
from tests.cloud.support.devcloud import DevCloud
from tests.wire import recorded
from tests.wire.recorder import listening
from tests.wire.recorder.exchanges import Exchange, exchanges
from tests.wire.recorder.neutral import Machine, neutral
from tests.wire.recorder.shapes import Choice, Newest, choose

# Of these one is kept also where it is as in the newest release, for tests of the stand-ins.
WANTED = frozenset(recorded.HELD_TO)


def main(arguments: list[str]) -> None:
    options = _options(arguments)
    cloud = DevCloud()
    if options.heard:
        spoken = list(listening.read(options.heard))
    else:
        cloud.require_up()
        spoken = listening.Listener(cloud, options.release, _say).listen(options.minutes * 60)
        if options.keep:
            listening.write(options.keep, spoken)
    found = exchanges(spoken)
    _say(f"{len(spoken)} messages, {len(found)} exchanges of computes")
    machine = Machine(
        str(cloud.state),
        # The id of its Ceph is in every connection of a volume, and opens nothing.
        (secret for name, secret in cloud.secrets().items() if name != "CEPH_ID"),
        (one.routing_key.partition(".")[2] for one in found if "." in one.routing_key),
    )
    choices = chosen(found, newest())
    write(options.out, options.release, choices, found, machine)


def newest() -> Newest:
    """What the newest release's recordings have."""
    facts = Newest()
    for _, records in recorded.files(recorded.NEWEST):
        facts.add(records)
    return facts


def chosen(found: Iterable[Exchange], against: Newest) -> dict[str, Choice]:
    """What is kept, by method."""
    by_method: dict[str, list[Exchange]] = {}
    for exchange in found:
        by_method.setdefault(exchange.method, []).append(exchange)
    return {
        method: choose(method, by_method[method], against, method in WANTED)
        for method in sorted(by_method)
    }


def write(
    out: Path, release: str, choices: dict[str, Choice], found: list[Exchange], machine: Machine
) -> None:
    """Replace what is in ``out`` by the exchanges kept and the manifest."""
    methods = out / "methods"
    shutil.rmtree(methods, ignore_errors=True)
    methods.mkdir(parents=True)
    for method, choice in choices.items():
        records = [neutral(one.record, machine) for one in choice.kept]
        if records:
            _write(methods / f"{method}.json", records)
    _write(out / "manifest.json", manifest(release, choices, found))


def manifest(release: str, choices: dict[str, Choice], found: list[Exchange]) -> dict[str, Any]:
    """What was heard of each method, what of it differs, and who spoke.

    ``arguments`` are there for methods of a compute service, so that those left out are known.
    """
    methods: dict[str, Any] = {}
    for method, choice in choices.items():
        of_it = [one for one in found if one.method == method]
        row: dict[str, Any] = {
            "heard": dict(sorted(Counter(_who(one) for one in of_it).items())),
            "kept": len(choice.kept),
        }
        if choice.differs:
            row["differs"] = list(choice.differs)
        if choice.fields:
            row["fields"] = [fact.removeprefix("field ") for fact in choice.fields]
        if choice.lite_only:
            row["only between nova_lite"] = True
        if not of_it[0].routing_key.startswith("conductor"):
            row["arguments"] = sorted(of_it[0].request.get("args", {}))
        methods[method] = row
    return {"release": release, "compared with": recorded.NEWEST, "methods": methods}


def _who(exchange: Exchange) -> str:
    return f"{exchange.asked or 'unknown'} to {exchange.routing_key.partition('.')[0]}" + (
        f", answered by {exchange.answered}" if exchange.answered else ""
    )


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.wire.record",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--release",
        required=True,
        choices=[release.name for release in RELEASES if release.name != recorded.NEWEST],
    )
    parser.add_argument("--out", required=True, type=Path, help="directory of the release's files")
    parser.add_argument("--minutes", type=float, default=20, help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="all that is heard, with secrets")
    parser.add_argument(
        "--heard", type=Path, metavar="FILE", help="do not listen: what --keep kept"
    )
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
