"""nova-lite-compute: the agent as a daemon."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Sequence

from nova_lite.cmd import process, signals
from nova_lite.errors import NovaLiteError

LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; SIGHUP reloads what can be reloaded.

    :returns: exit code: 0 after a clean stop, 1 when this host may not join as it is
    """
    process.few_arenas()
    process.native_threads()
    from nova_lite.conf import load

    try:
        conf = load.load(sys.argv[1:] if arguments is None else arguments, "nova-lite-compute")
        load.setup_logging(conf)
    except NovaLiteError as error:
        print(f"nova-lite-compute: {error}", file=sys.stderr)
        return 1
    from nova_lite.service import Agent

    return serve(Agent(conf))


def serve(agent: object) -> int:
    """Run a built agent in the foreground."""
    from nova_lite.service import Agent

    assert isinstance(agent, Agent)
    stop = threading.Event()
    signals.handle(
        {signal.SIGTERM: stop.set, signal.SIGINT: stop.set, signal.SIGHUP: agent.reload}
    )
    problem = ""
    try:
        agent.start(stop)
        stop.wait()
    except NovaLiteError as error:
        problem = str(error)
    finally:
        agent.stop()
    if not problem:
        return 0
    LOG.critical("Cannot go on: %s", problem)
    if not _log_is_on_terminal():
        print(f"nova-lite-compute: {problem}", file=sys.stderr)
    return 1


def _log_is_on_terminal() -> bool:
    handlers = logging.getLogger().handlers
    return any(getattr(handler, "stream", None) is sys.stderr for handler in handlers)


if __name__ == "__main__":
    sys.exit(main())
