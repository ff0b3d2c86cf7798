"""Nova's periodic tasks, each with its option; those that are off are not there at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from nova_lite.loops.overdue import OverdueBuilds, OverdueRescues
from nova_lite.loops.power_sync import PowerSync
from nova_lite.loops.strays import Strays
from nova_lite.loops.timer import Timer
from nova_lite.operations.engine import Engine
from nova_lite.operations.own_requests import OwnRequests
from nova_lite.steps.toolbox import Toolbox

USUAL = 60.0  # seconds; what an interval of 0 means


def periodic_tasks(conf: Any, tools: Toolbox, engine: Engine) -> list[Timer]:
    """The timers that nova.conf asks for, not started; also subscribes to the hypervisor's events.

    :param conf: a ConfigOpts
    """
    own = OwnRequests(tools.instances, tools.actions, engine)
    power = _power_sync(conf, tools, engine, own)
    if conf.workarounds.handle_virt_lifecycle_events:
        tools.hypervisor.subscribe(power.on_event)
    if not conf.periodic_enable:
        return []
    timers = []
    if conf.sync_power_state_interval >= 0:
        # At once, too: guests may have powered off while no agent looked.
        every = interval(conf.sync_power_state_interval)
        timers.append(Timer("power state sync", power.tick, every, first=0.0))
    if conf.rescue_timeout > 0:
        rescues = OverdueRescues(conf.host, conf.rescue_timeout, tools.instances, own)
        timers.append(Timer("overdue rescues", rescues.tick, USUAL))
    if conf.instance_build_timeout > 0:
        builds = OverdueBuilds(
            conf.host, conf.instance_build_timeout, tools.instances, tools.actions, own
        )
        timers.append(Timer("overdue builds", builds.tick, USUAL))
    return timers


def interval(configured: int) -> float:
    """Seconds of one of Nova's periodic intervals: 0 means the default of 60 s."""
    return float(configured or USUAL)


def _power_sync(conf: Any, tools: Toolbox, engine: Engine, own: OwnRequests) -> PowerSync:
    strays = Strays(
        conf.host,
        conf.running_deleted_instance_action,
        tools.instances,
        tools.hypervisor,
        engine,
    )
    return PowerSync(conf.host, tools.hypervisor, tools.instances, own, _later, strays.look_at)


def _later(seconds: float, run: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, run)
    timer.daemon = True
    timer.start()
