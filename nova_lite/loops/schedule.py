"""Nova's periodic tasks, each with its option; those that are off are not there at all."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from nova_lite.engine.bus import EngineEvent, Moment
from nova_lite.engine.engine import Engine
from nova_lite.engine.own_requests import OwnRequests
from nova_lite.loops import (
    abandoned_mappings,
    console_tokens,
    kept_disks,
    lost_arrivals,
    partial_arrivals,
    stray_interfaces,
)
from nova_lite.loops.abandoned_mappings import AbandonedMappings
from nova_lite.loops.confirm_resizes import OverdueResizes
from nova_lite.loops.console_tokens import ExpiredTokens
from nova_lite.loops.evacuated import EvacuatedServers
from nova_lite.loops.kept_disks import KeptDirectories
from nova_lite.loops.later import Later
from nova_lite.loops.leftovers import Leftovers
from nova_lite.loops.lost_arrivals import LostArrivals
from nova_lite.loops.overdue import OverdueReboots, OverdueRescues, OverdueShelved
from nova_lite.loops.overdue_builds import OverdueBuilds
from nova_lite.loops.partial_arrivals import PartialArrivals
from nova_lite.loops.power_sync import PowerSync
from nova_lite.loops.reclaim import Reclaim
from nova_lite.loops.scheduler_list import SchedulerList
from nova_lite.loops.stray_interfaces import StrayInterfaces
from nova_lite.loops.strays import Strays
from nova_lite.loops.timer import Timer
from nova_lite.loops.usage_audit import UsageAudit
from nova_lite.loops.volume_usage import VolumeUsage
from nova_lite.scheduler.client import Scheduler
from nova_lite.services.claiming import rest_cpus
from nova_lite.services.image_ageing import ImageAgeing
from nova_lite.services.image_leftovers import ImageLeftovers
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext

STRAY_INTERFACES = "stray interfaces"  # the timer that is asked for when the switch is back
USUAL = 60.0  # seconds; what an interval of 0 means
SCHEDULER_LOOK = 10.0  # seconds between two looks for servers that came or left unheard


def periodic_tasks(
    conf: Any, tools: Toolbox, engine: Engine, evacuated: EvacuatedServers | None = None
) -> list[Timer]:
    """The timers that nova.conf asks for, not started; also subscribes to the hypervisor's events.

    :param conf: a ConfigOpts
    """
    evacuated = evacuated or EvacuatedServers(conf.host, tools.migrations, engine)
    kept = KeptDirectories(Path(conf.instances_path), engine)
    own = OwnRequests(tools.instances, tools.actions, engine)
    strays = Strays(
        conf.host, conf.running_deleted_instance_action, tools.instances, tools.hypervisor, engine,
        evacuated.look, conf.running_deleted_instance_timeout, kept.of, partial(_is_moving, tools),
    )  # fmt: skip
    power = PowerSync(conf.host, tools.hypervisor, tools.instances, own, Later().do, strays.look_at)
    if conf.workarounds.handle_virt_lifecycle_events:
        tools.hypervisor.subscribe(power.on_event)
    timers = _cpu_power(conf, tools)
    if not conf.periodic_enable:
        return timers
    if conf.sync_power_state_interval >= 0:
        # At once, too: guests may have powered off while no agent looked.
        every = interval(conf.sync_power_state_interval)
        timers.append(Timer("power state sync", power.tick, every, first=0.0))
    timers.extend(_overdue_servers(conf, tools, own))
    timers.extend(_deleted_servers(conf, tools, engine, own, strays))
    if conf.instance_usage_audit:
        # At once, too: a period may have ended while no agent looked.
        audit = _usage_audit(conf, tools)
        timers.append(Timer("usage audit", audit.tick, USUAL, first=0.0))
    if conf.volume_usage_poll_interval > 0:
        usage = VolumeUsage(tools)
        every = float(conf.volume_usage_poll_interval)
        timers.append(Timer("volume usage", usage.tick, every))
    if conf.image_cache.manager_interval >= 0:
        every = interval(conf.image_cache.manager_interval)
        ageing = ImageAgeing(conf, tools.images, tools.clock)
        timers.append(Timer("image cache", ageing.run, every, first=min(every, USUAL)))
    mappings = AbandonedMappings(tools, engine)
    every = abandoned_mappings.INTERVAL_S
    timers.append(Timer("abandoned mappings", mappings.tick, every, first=USUAL))
    timers.append(_stray_interfaces(conf, tools, engine))
    every, first = kept_disks.INTERVAL_S, kept_disks.FIRST_S
    timers.append(Timer("files kept for moves", kept.tick, every, first=first))
    timers.extend(_arrivals(conf, tools, engine))
    images = ImageLeftovers(tools)
    timers.append(Timer("images of failed snapshots", images.tick, USUAL, first=0.0))
    tokens = ExpiredTokens(tools.console_tokens)
    timers.append(Timer("expired console tokens", tokens.tick, console_tokens.INTERVAL_S))
    return timers


def scheduler_list(
    conf: Any, scheduler: Scheduler, servers: Callable[[], Collection[str]], engine: Engine
) -> list[Timer]:
    """The timer that keeps the schedulers' list of this host's servers, not started.

    :param conf: a ConfigOpts
    :param servers: tells the uuids of the servers that are here
    """
    if not conf.filter_scheduler.track_instance_changes:
        return []
    every = conf.scheduler_instance_sync_interval
    complete = interval(every) if conf.periodic_enable and every >= 0 else None
    listed = SchedulerList(scheduler, servers, complete)
    timer = Timer("list of servers for nova-scheduler", listed.tick, SCHEDULER_LOOK, first=0.0)

    def heard(event: EngineEvent) -> None:
        if event.moment is Moment.FINISHED:
            timer.poke()

    engine.bus.subscribe(heard)
    return [timer]


def _is_moving(tools: Toolbox, uuid: str) -> bool:
    """Whether a migration of a server is not over."""
    return tools.migrations.open_of_server(RequestContext.admin(), uuid) is not None


def _cpu_power(conf: Any, tools: Toolbox) -> list[Timer]:
    """Rest unused dedicated CPUs: at start, when a guest went off, and now and then."""
    if not conf.libvirt.cpu_power_management:
        return []
    rest = partial(rest_cpus, tools)
    timer = Timer("power of dedicated CPUs", rest, USUAL, first=0.0, settle=1.0)
    tools.hypervisor.subscribe(lambda event: timer.poke())
    return [timer]


def interval(configured: int) -> float:
    """Seconds of one of Nova's periodic intervals: 0 means the default of 60 s."""
    return float(configured or USUAL)


def _overdue_servers(conf: Any, tools: Toolbox, own: OwnRequests) -> list[Timer]:
    timers = []
    if conf.reboot_timeout > 0:
        reboots = OverdueReboots(conf.host, conf.reboot_timeout, tools.instances, own)
        timers.append(Timer("overdue reboots", reboots.tick, USUAL))
    if conf.rescue_timeout > 0:
        rescues = OverdueRescues(conf.host, conf.rescue_timeout, tools.instances, own)
        timers.append(Timer("overdue rescues", rescues.tick, USUAL))
    if conf.instance_build_timeout > 0:
        builds = OverdueBuilds(
            conf.host, conf.instance_build_timeout, tools.instances, tools.actions, own
        )
        timers.append(Timer("overdue builds", builds.tick, USUAL))
    if conf.resize_confirm_window > 0:
        resizes = OverdueResizes(
            conf.host, conf.resize_confirm_window, instances=tools.instances,
            migrations=tools.migrations, actions=tools.actions, peers=tools.peers,
        )  # fmt: skip
        timers.append(Timer("unconfirmed resizes", resizes.tick, USUAL))
    if conf.shelved_offload_time > 0 and conf.shelved_poll_interval >= 0:
        shelved = OverdueShelved(conf.host, conf.shelved_offload_time, tools.instances, own)
        every = interval(conf.shelved_poll_interval)
        timers.append(Timer("overdue shelved servers", shelved.tick, every))
    return timers


def _deleted_servers(
    conf: Any, tools: Toolbox, engine: Engine, own: OwnRequests, strays: Strays
) -> list[Timer]:
    timers = []
    # Documented as off with 0, and with no action there is nothing to look for.
    every = float(conf.running_deleted_instance_poll_interval)
    if every > 0 and conf.running_deleted_instance_action != "noop":
        # At once, too: servers may have been deleted while no agent looked.
        timers.append(Timer("guests of deleted servers", strays.tick, every, first=0.0))
    if conf.reclaim_instance_interval > 0:
        reclaim = Reclaim(
            conf.host, conf.reclaim_instance_interval, tools.instances, tools.block_devices, own
        )
        every = min(USUAL, conf.reclaim_instance_interval)
        timers.append(Timer("reclaim of soft-deleted servers", reclaim.tick, every))
    if conf.instance_delete_interval >= 0:
        leftovers = Leftovers(
            Path(conf.instances_path),
            conf.maximum_instance_delete_attempts,
            tools.hypervisor,
            engine,
            strays.reap_deleted,
        )
        every = interval(conf.instance_delete_interval)
        timers.append(Timer("leftover directories", leftovers.tick, every))
    return timers


def _stray_interfaces(conf: Any, tools: Toolbox, engine: Engine) -> Timer:
    interfaces = StrayInterfaces(
        conf.host, tools.instances, tools.migrations, tools.hypervisor, tools.vif_driver, engine
    )
    every, first = stray_interfaces.INTERVAL_S, stray_interfaces.FIRST_S
    return Timer(STRAY_INTERFACES, interfaces.tick, every, first=first)


def _arrivals(conf: Any, tools: Toolbox, engine: Engine) -> list[Timer]:
    """Of moves to this host that have failed."""
    partial = PartialArrivals(Path(conf.instances_path), tools, engine)
    every, first = partial_arrivals.INTERVAL_S, partial_arrivals.FIRST_S
    lost = LostArrivals(tools, engine)
    return [
        Timer("files of failed moves", partial.tick, every, first=first),
        Timer("servers from other cells", lost.tick, lost_arrivals.INTERVAL_S),
    ]


def _usage_audit(conf: Any, tools: Toolbox) -> UsageAudit:
    return UsageAudit(
        conf.host,
        conf.instance_usage_audit_period,
        conf.instance_name_template,
        notifier=tools.notifier,
        instances=tools.instances,
        block_devices=tools.block_devices,
        share_mappings=tools.share_mappings,
        logs=tools.task_logs,
    )
