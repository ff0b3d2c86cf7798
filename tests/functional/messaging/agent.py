"""The messaging side of an agent, as a process that tests may kill: both RPC servers of one host.

Run with the host's name and the configuration file; writes ``ready`` when it listens. It answers
some methods of the compute API, telling the host and the topic on which they came, and carries out
one, ``prep_snapshot_based_resize_at_source``, with a journal beside the configuration file.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from nova_lite.conf import load
from nova_lite.engine.engine import Engine
from nova_lite.engine.journal import Journal
from nova_lite.engine.queues import Pool, ServerQueues
from nova_lite.errors import ServerNotFound
from nova_lite.operations.base import Operation
from nova_lite.rpc import endpoint, transport
from nova_lite.rpc.dispatch import Dispatcher
from nova_lite.rpc.server import CallMonitor, ComputeServer
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire.compute_api import TOPICS


class WaitForGo(Step):
    """Until there is a file ``go`` in the folder that stands for the snapshot."""

    name = "wait"

    def do(self):
        folder = Path(self.work.arguments["snapshot_id"])
        with (folder / "at-work").open("a") as file:
            file.write("at work\n")
        while not (folder / "go").exists():
            time.sleep(0.05)


class AtWork(Operation):
    event = None
    answers = True

    def plan(self):
        return [(WaitForGo(self.work),)]

    def answer(self):
        return "done"

    def failed(self, failure):
        pass


def engine_in(directory):
    """What carries out the one operation."""
    journal = Journal(directory)
    journal.prepare()

    def work(context, arguments, entry):
        return Work(context, None, arguments["instance"], arguments, entry.notes, entry.note)

    return Engine(
        journal, ServerQueues({"long": Pool("long", 2), "short": Pool("short", 2)}),
        {"prep_snapshot_based_resize_at_source": AtWork}, work,
        lambda *event: None, lambda *event: None,
    )  # fmt: skip


def handlers(host, topic):
    """Method -> what it does here."""

    def at_work(context, seconds, folder):
        (Path(folder) / "at-work").touch()
        time.sleep(seconds)
        return f"{host} {topic}"

    def missing(context, instance):
        raise ServerNotFound(f"Instance {instance['uuid']} could not be found.")

    return {
        "check_instance_shared_storage": lambda context, data: f"{host} {topic}",
        "check_can_live_migrate_source": lambda context, instance, dest_check_data: (
            f"{host} {topic}"
        ),
        "pre_live_migration": lambda context, instance, disk, migrate_data: at_work(
            context, **migrate_data
        ),
        "drop_move_claim_at_destination": missing,
    }


def main():
    host, file = sys.argv[1:]
    conf = load.load(["--config-file", file], "agent")
    connection = transport.make(conf)
    pool = Pool("messages", 4)
    engine = engine_in(Path(file).parent / "journal")
    engine.resume()
    for topic in TOPICS:
        dispatcher = Dispatcher(
            endpoint.routes(handlers(host, topic)), endpoint.base_routes(), engine,
            lambda *unused: None, CallMonitor,
        )  # fmt: skip
        ComputeServer(connection, topic, host, dispatcher, pool).listen()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
