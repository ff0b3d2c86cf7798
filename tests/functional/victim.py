"""An agent's engine in a process of its own, with stand-ins for the rest of the cloud.

    python -m tests.functional.victim STATE [--message FILE] [--kill BOUNDARY] [--record FILE]
                                      [--fail-start]

Resumes what the journal holds, then carries out the operation of the message file, and dies by
SIGKILL at the named boundary. Everything it changes is on disk, in libvirt, or in the kernel.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path

from nova_lite.assembly import host_policy
from nova_lite.conductor.actions import Actions
from nova_lite.conductor.instances import Instances
from nova_lite.conductor.records import (
    BlockDevices,
    Builds,
    ConsoleTokens,
    InfoCaches,
    Interfaces,
)
from nova_lite.conf import load
from nova_lite.drivers import disk
from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor
from nova_lite.errors import HypervisorError
from nova_lite.inventory.claims import Claims
from nova_lite.operations.engine import Engine
from nova_lite.operations.journal import Journal
from nova_lite.operations.queues import Pool, ServerQueues
from nova_lite.rpc.endpoint import OPERATIONS
from nova_lite.steps.base import Work
from nova_lite.steps.events import EventHub
from nova_lite.steps.image_cache import ImageCache
from nova_lite.steps.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import wrap
from tests.fakes.cloud import FakeImageSource, FakePlacement, FakePorts, Ledger, TapVifs
from tests.fakes.conductor import FakeConductor


def toolbox(state: Path) -> Toolbox:
    conf = load.load(["--config-file", str(state / "nova.conf")], "victim")
    conductor = FakeConductor(state / "conductor.json")
    ledger = Ledger(state / "cloud.json")
    hypervisor = LibvirtHypervisor(conf)
    hypervisor.connect()
    facts = hypervisor.facts()
    return Toolbox(
        conf=conf, host="host1", node=facts.hostname, node_uuid="node", node_id=1,
        instances=Instances(conductor), block_devices=BlockDevices(conductor),
        interfaces=Interfaces(conductor), info_caches=InfoCaches(conductor),
        console_tokens=ConsoleTokens(conductor), actions=Actions(conductor, "host1"),
        builds=Builds(conductor), placement=FakePlacement(ledger), hypervisor=hypervisor,
        facts=facts, capabilities=hypervisor.capabilities(), policy=host_policy(conf),
        vif_driver=TapVifs(), ports=FakePorts(ledger),
        images=ImageCache.from_conf(conf, FakeImageSource(state / "images")),
        disks=disk.backend("qcow2", True), claims=Claims(), events=EventHub(),
        usage_changed=lambda: None, set_disabled=lambda disabled: None,
    )  # fmt: skip


def refuse(uuid: str, *, paused: bool = False) -> None:
    raise HypervisorError("internal error: QEMU exited: no memory")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--message", type=Path)
    parser.add_argument("--kill")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--fail-start", action="store_true")
    options = parser.parse_args()
    tools = toolbox(options.state)
    if options.fail_start:
        tools.hypervisor.start = refuse
    journal = Journal(options.state / "journal")
    journal.prepare()

    def observer(boundary: str) -> None:
        if options.record:
            with open(options.record, "a") as file:
                file.write(boundary + "\n")
        if boundary == options.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = Engine(
        journal,
        ServerQueues({"builds": Pool("builds", 2), "short": Pool("short", 2)}),
        OPERATIONS,
        lambda context, arguments, entry: Work(
            context, tools, arguments["instance"], arguments, entry.notes, entry.note
        ),
        finish_event=tools.actions.finish,
        start_event=tools.actions.start,
        observer=observer,
    )
    engine.resume()
    if options.message:
        message = json.loads(options.message.read_text())
        arguments = wrap(message["args"])
        entry = engine.accept(
            message["method"],
            RequestContext({"request_id": message["request_id"]}),
            arguments["instance"]["uuid"],
            arguments,
        )
        if entry is not None:
            engine.start(entry)
    if not engine.settle(120):
        raise SystemExit("operations did not end")
    tools.hypervisor.close()


if __name__ == "__main__":
    main()
