"""The agent as a process: it joins the control plane, runs, drains and stops.

``composition.py`` builds what it is made of; servers and timers are built here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Unpack

from nova_lite.cmd import notify
from nova_lite.composition import Composition, Parts
from nova_lite.conductor import repeats
from nova_lite.conf import unread
from nova_lite.conf.unsupported import Effect
from nova_lite.engine.engine import Engine
from nova_lite.engine.queues import Pool
from nova_lite.errors import (
    ControlPlaneUnavailable,
    CredentialsInvalid,
    HypervisorUnavailable,
    NovaLiteError,
)
from nova_lite.handlers.announced import announced
from nova_lite.handlers.network_refresh import NetworkRefresh
from nova_lite.handlers.refusals import Refusals
from nova_lite.handlers.table import handlers
from nova_lite.inventory.moves import open_moves
from nova_lite.loops import switch
from nova_lite.loops.evacuated import EvacuatedServers
from nova_lite.loops.heartbeat import Heartbeat
from nova_lite.loops.inventory import InventoryReport
from nova_lite.loops.network_caches import NetworkCaches
from nova_lite.loops.schedule import STRAY_INTERFACES, interval, periodic_tasks, scheduler_list
from nova_lite.loops.switch import SwitchWatch, use_a_switch
from nova_lite.loops.timer import Timer
from nova_lite.loops.watchdog import Signs, Watchdog
from nova_lite.membership.join import Joining, Membership
from nova_lite.membership.survey import Survey
from nova_lite.membership.watch import ControlPlaneWatch
from nova_lite.rpc import endpoint, transport
from nova_lite.rpc.backlog import Backlog
from nova_lite.rpc.dispatch import Dispatcher
from nova_lite.rpc.server import CallMonitor, ComputeServer
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.compute_api import TOPICS
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

MESSAGE_WORKERS = 16  # messages looked at, and operations promised, at once
HANDLER_WORKERS = 16  # calls answered at once that may hang, such as consoles
RESOURCE_SETTLE = 3.0  # seconds in which changes of usage are collected into one report
STUCK_INTERVAL = 30.0  # seconds between two looks for workers that hang
HEARTBEAT_MARGIN = 60.0  # seconds for which a heartbeat may hang in the sending of its message
EVACUATED_EVERY = 600.0  # seconds between two looks for servers that were evacuated from here
CLOSE_PATIENCE = 6.0  # seconds to say goodbye to the broker
# What a host that starts waits for; other errors mean that it may not join as it is.
WAITED_FOR = (ControlPlaneUnavailable, HypervisorUnavailable, CredentialsInvalid)
STARTUP_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)


class Stopped(Exception):
    """The agent was told to stop before it was up; the text says what it waited for."""


class Agent:
    """The compute agent of one host.

    :param replaced: see ``Composition``; ``observer`` is told of every boundary of operations
    """

    def __init__(self, conf: Any, **replaced: Unpack[Parts]) -> None:
        self._conf = conf
        self._replaced = replaced
        self._stop = threading.Event()
        self._servers: list[ComputeServer] = []
        self._timers: list[Timer] = []
        self._engine: Engine | None = None
        self._parts: Composition | None = None
        self._messages = Pool("messages", MESSAGE_WORKERS)
        self._handlers = Pool("handlers", HANDLER_WORKERS)

    # --- start ------------------------------------------------------------------------------
    def start(self, stop: threading.Event) -> None:
        """Join the cloud and begin to work; returns when the host is up, or ``stop`` was set.

        Whatever is missing (broker, conductor, libvirt, Keystone) is named in the log and waited
        for; ``stop`` ends the waiting.

        :raises HostIdentityError, ServiceTooOld, InvalidConfiguration, JournalError: this host may
            not join as it is
        """
        self._stop = stop
        _report_unread(self._conf)
        try:
            self._start()
        except Stopped as stopped:
            LOG.info("Stopped while waiting for %s", stopped)

    def _start(self) -> None:
        began = time.monotonic()
        parts = self._parts = Composition(self._conf, **self._replaced)
        parts.journal.lock()
        parts.prepare()
        warm = [_in_thread(parts.warm_up)]
        self._patiently("the message broker", lambda: transport.reach(self._conf))
        self._patiently("nova-conductor", lambda: parts.conductor.ping(timeout=10))
        for first in (parts.hypervisor.connect, parts.hypervisor.wake_cpus):
            self._patiently("the hypervisor", first)
        facts = self._patiently("the hypervisor", parts.hypervisor.facts)
        # Beside what is asked for while this host joins.
        moves = partial(
            open_moves, parts.instances, parts.migrations, self._conf.host, facts.hostname
        )
        early = [_in_thread(moves)]
        joining = Joining(
            self._conf, parts.services, parts.nodes, parts.instances, parts.hypervisor
        )
        membership = self._patiently("nova-conductor", lambda: joining.look(facts))
        _speak_to(parts, membership)
        # Before any record is made: nova-api cannot delete a host that Placement does not know.
        self._patiently("Placement", lambda: warm.pop().result() if warm else parts.warm_up())
        service = self._patiently("nova-conductor", lambda: joining.report_service(membership))
        parts.claims.restore(membership.instances)
        moving = self._patiently(
            "nova-conductor", lambda: early.pop().result() if early else moves()
        )
        parts.claims.keep(moving)
        capacity = parts.capacity(facts, membership)
        self._patiently("nova-conductor and Placement", lambda: capacity.report(service))
        tools = parts.toolbox(
            facts, membership.node_uuid, int(capacity.record["id"]), self._poke_inventory
        )
        engine = self._engine = parts.engine(tools)
        apart = engine.resume()
        # What was resumed of an evacuated server has ended without an effect when this begins.
        evacuated = EvacuatedServers(tools.host, tools.migrations, engine)
        apart |= self._patiently("nova-conductor", evacuated.look)
        self._listen(parts, tools, engine)
        self._survey(tools, engine, membership.instances, apart)
        self._settle(engine)
        self._timers.extend(periodic_tasks(self._conf, tools, engine, evacuated))
        self._timers.append(self._switch_watch(parts, tools, service, membership.instances))
        self._start_timers(parts, tools, service, capacity, evacuated)
        notify.notify("READY=1")
        LOG.info("Host %s (%s) is up as service version %d after %.2f s",
                 self._conf.host, membership.node_uuid, membership.version,
                 time.monotonic() - began)  # fmt: skip

    def _patiently(self, whom: str, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer; say what is missing.

        :raises Stopped: the agent is to stop
        """
        for pause in _pauses():
            asked = _in_thread(ask)
            while not asked.done():
                # Libraries wait for brokers and sockets without an end: never in this thread.
                wait([asked], timeout=0.1)
                if self._stop.is_set():
                    raise Stopped(whom)
            problem = asked.exception()
            if problem is None:
                return asked.result()
            if not isinstance(problem, WAITED_FOR):
                raise problem
            LOG.error("Waiting for %s: %s", whom, problem)
            notify.notify(f"STATUS=Waiting for {whom}: {problem}")
            if self._stop.wait(pause):
                raise Stopped(whom)

    def _listen(self, parts: Composition, tools: Toolbox, engine: Engine) -> None:
        routes = endpoint.routes(announced(handlers(tools, engine), tools.notifier))
        events = {name: verb.event for name, verb in endpoint.OPERATIONS.items() if verb.event}
        refusals = Refusals(tools, events)
        dispatcher = Dispatcher(
            routes, endpoint.base_routes(), engine, refusals.report, CallMonitor, self._handlers
        )
        _in_thread(partial(_warm_up_boots, parts))
        engine.listening()
        for topic in TOPICS:
            server = ComputeServer(
                parts.transport, topic, self._conf.host, dispatcher, self._messages, parts.outgoing
            )
            server.listen()
            self._servers.append(server)

    def _survey(
        self, tools: Toolbox, engine: Engine, instances: list[WireObject], apart: set[str]
    ) -> None:
        """Settle what nobody finished, beside everything else: the host is up without it.

        Only after the messages that waited for this host, for one of them may do it.
        """
        survey = Survey.of(tools, engine, endpoint.VERBS)
        queues = [f"{topic}.{self._conf.host}" for topic in TOPICS]
        backlog = Backlog(self._conf, queues, lambda: self._messages.idle)

        def run() -> None:
            try:
                found = self._patiently(
                    "the hypervisor", lambda: survey.unsettled(instances, apart)
                )
                survey.restore_power(apart)
                if found and backlog.wait(self._stop):
                    survey.settle(found)
                self._patiently("the hypervisor", lambda: survey.name_foreign(instances))
            except Stopped:
                return
            except Exception:
                LOG.exception("The servers of this host were not looked at")

        threading.Thread(target=run, name="survey", daemon=True).start()

    def _settle(self, engine: Engine) -> None:
        """Give resumed operations time to end before the host reports itself up."""
        patience = self._conf.nova_lite.resume_timeout
        if not engine.settle(patience):
            LOG.warning("Resumed operations are not over after %d s; the host reports itself up "
                        "and they go on", patience)  # fmt: skip

    def _switch_watch(
        self,
        parts: Composition,
        tools: Toolbox,
        service: WireObject,
        instances: list[WireObject],
    ) -> Timer:
        """:param instances: the servers of this host, as read while it joined"""

        def returned() -> None:
            for timer in self._timers:
                if timer.name == STRAY_INTERFACES:
                    timer.poke()

        watch = SwitchWatch(
            tools.vif_driver, parts.services, service, tools.set_disabled, returned,
            needed=use_a_switch(instances),
        )  # fmt: skip
        return Timer("switch", watch.tick, switch.INTERVAL_S, first=0.0)

    def _start_timers(
        self,
        parts: Composition,
        tools: Toolbox,
        service: WireObject,
        capacity: Any,
        evacuated: EvacuatedServers,
    ) -> None:
        conf = self._conf
        limit = float(conf.nova_lite.stuck_worker_timeout)

        def replace_stuck() -> None:
            for pool in (*parts.pools.values(), self._messages, self._handlers):
                if pool.name != "migrations":  # they wait for each other, and take their time
                    pool.replace_stuck(limit)

        self._timers.append(Timer("stuck workers", replace_stuck, STUCK_INTERVAL))
        removal = Timer("evacuated servers", evacuated.look, EVACUATED_EVERY)
        self._timers.append(removal)
        assert self._engine is not None
        caches = NetworkCaches(tools, NetworkRefresh(tools, self._engine).heal)
        if conf.periodic_enable:
            self._timers.append(caches.timer)

        def returned() -> None:
            removal.poke()
            caches.look_again()

        release = ControlPlaneWatch(conf, parts.services, parts.outgoing, int(service["version"]))
        self._timers.append(Timer("release of the control plane", release.tick, release.INTERVAL_S))
        self._timers += scheduler_list(conf, parts.scheduler, parts.claims.here, self._engine)
        heartbeat = Heartbeat(parts.services, service, conf.service_down_time, returned)
        self._heartbeat = Timer("heartbeat", heartbeat.tick, conf.report_interval, first=0.0)
        self._timers.append(self._heartbeat)
        report = InventoryReport(capacity.tick, parts.notifier, conf.my_ip)
        self._inventory = Timer(
            "inventory", report.tick, interval(conf.update_resources_interval),
            settle=RESOURCE_SETTLE,
        )  # fmt: skip
        if conf.periodic_enable and conf.update_resources_interval >= 0:
            self._timers.append(self._inventory)
        keep_alive = notify.watchdog_interval()
        if keep_alive:
            watchdog = self._watchdog()
            self._timers.append(Timer("watchdog", watchdog.tick, keep_alive, first=0.0))
        for timer in self._timers:
            timer.start()

    def _watchdog(self) -> Watchdog:
        """What tells systemd that this process is not stuck."""
        conf, engine = self._conf, self._engine
        assert engine is not None
        signs = Signs(
            locks=engine.locks_free,
            message=lambda answered: self._messages.submit("the watchdog", answered),
            heartbeat=lambda: self._heartbeat.since_tick,
            broker=lambda: transport.carries(conf),
        )
        longest = conf.report_interval + sum(repeats.waits(float(conf.rpc_response_timeout)))
        return Watchdog(
            lambda: notify.notify("WATCHDOG=1"),
            signs,
            heartbeat_limit=longest + HEARTBEAT_MARGIN,
            worker_limit=conf.nova_lite.stuck_worker_timeout + 2 * STUCK_INTERVAL,
        )

    # --- while it runs ----------------------------------------------------------------------
    def _poke_inventory(self) -> None:
        inventory = getattr(self, "_inventory", None)
        if inventory is not None:
            inventory.poke()

    def reload(self) -> None:
        """SIGHUP: read log settings again and believe nothing remembered of Placement."""
        LOG.info("Reloading configuration")
        try:
            self._conf.mutate_config_files()
        except Exception:
            LOG.exception("Could not reload the configuration; going on with the old one")
        if self._parts is not None:
            self._parts.forget()
        self._poke_inventory()

    # --- stop -------------------------------------------------------------------------------
    def stop(self) -> None:
        """Drain: take nothing new, let running operations end or stop at a step boundary."""
        notify.notify("STOPPING=1")
        _within(CLOSE_PATIENCE, *(server.stop for server in self._servers))
        if self._engine is not None:
            timeout = self._conf.graceful_shutdown_timeout or float("inf")
            if not self._engine.drain(timeout):
                LOG.warning("Some operations did not stop in %d s; they go on at the next start",
                            timeout)  # fmt: skip
        for timer in self._timers:
            timer.stop()
        # Sends what is still to be acknowledged and takes this process's own queues away.
        _within(CLOSE_PATIENCE, *(server.wait for server in self._servers))
        if self._parts is not None:
            _within(CLOSE_PATIENCE, self._parts.close)


def _report_unread(conf: Any) -> None:
    """Name each option that nova-compute would read; what must not be ignored is an error later."""
    for option in unread.present(conf):
        effect = option.unread.effect
        if effect is not Effect.REFUSED:
            log = LOG.warning if effect is Effect.LOST else LOG.info
            log("%s; %s", option.message, option.unread.remedy)


def _within(seconds: float, *jobs: Callable[[], Any]) -> None:
    """Do it side by side, and go on when it takes too long: oslo.messaging waits for its broker."""
    wait([_in_thread(job) for job in jobs], timeout=seconds)


def _warm_up_boots(parts: Composition) -> None:
    """Boots begin without it; one that needs Keystone then says so itself."""
    try:
        parts.ports.warm_up()
    except NovaLiteError as error:
        LOG.warning("The first boot will need this: %s", error)


def _in_thread(work: Callable[[], Any]) -> Future[Any]:
    """Run ``work`` in a thread that a process may end without."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _speak_to(parts: Composition, membership: Membership) -> None:
    """In words that control plane and other hosts know, as this host has found them."""
    parts.peers.at_least(membership.floor)
    parts.outgoing.learn(membership.conductor)


def _pauses() -> Any:
    yield from STARTUP_PAUSES
    while True:
        yield STARTUP_PAUSES[-1]
