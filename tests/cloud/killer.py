"""nova_lite as it is, except that it dies by kill -9 where it is told to.

    killer.py KILL_AT RECORD --config-file FILE ...

At each boundary of an operation (``build_and_run_instance:make_disks:begin``) its name is appended
to the file RECORD. When the file KILL_AT holds that name, the file is removed and the process gets
SIGKILL: no handler, no flush, no goodbye. Without the file this is the normal agent.
"""

import os
import signal
import sys
from collections.abc import Callable

from nova_lite.cmd import compute
from nova_lite.conf import load
from nova_lite.service import Agent


def observer(kill_at: str, record: str) -> Callable[[str], None]:
    log = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def observe(boundary: str) -> None:
        os.write(log, f"{boundary}\n".encode())
        try:
            with open(kill_at) as file:
                wanted = file.read().strip()
        except FileNotFoundError:
            return
        if wanted == boundary:
            os.unlink(kill_at)
            os.kill(os.getpid(), signal.SIGKILL)

    return observe


def main(arguments: list[str]) -> int:
    kill_at, record, *rest = arguments
    conf = load.load(rest, "nova-lite-compute")
    load.setup_logging(conf)
    return compute.serve(Agent(conf, observer=observer(kill_at, record)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
