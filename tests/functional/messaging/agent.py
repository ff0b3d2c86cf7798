"""The messaging side of an agent, as a process that tests may kill: both RPC servers of one host.

Run with the host's name and the configuration file; writes ``ready`` when it listens. It answers
some methods of the compute API, telling the host and the topic on which they came.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from nova_lite.conf import load
from nova_lite.engine.queues import Pool
from nova_lite.errors import ServerNotFound
from nova_lite.rpc import endpoint, transport
from nova_lite.rpc.dispatch import Dispatcher
from nova_lite.rpc.server import CallMonitor, ComputeServer
from nova_lite.wire.compute_api import TOPICS


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
    for topic in TOPICS:
        dispatcher = Dispatcher(
            endpoint.routes(handlers(host, topic)), endpoint.base_routes(), None,
            lambda *unused: None, CallMonitor,
        )  # fmt: skip
        ComputeServer(connection, topic, host, dispatcher, pool).listen()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
