"""An agent's engine in a process of its own, with stand-ins for the rest of the cloud.

    python -m tests.functional.victim

imports everything once, then reads one JSON request a line, runs each in a forked child and answers
with a line, the child's exit status. A request (``Order``) names a state directory. The child
resumes what the journal there holds, carries out messages, and at boundaries does as told: dies by
SIGKILL, waits, or gets another message. Everything it changes is on disk, in libvirt, or in the
kernel.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nova_lite.clients.key_manager import KeyManager
from nova_lite.clients.session import Sessions
from nova_lite.composition import Composition
from nova_lite.conductor.instances import Instances
from nova_lite.conductor.migrations import Migrations
from nova_lite.conf import load
from nova_lite.drivers import disk
from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor
from nova_lite.engine.engine import Engine
from nova_lite.errors import (
    ControlPlaneUnavailable,
    DeviceDetachFailed,
    HypervisorError,
    ImageQuotaExceeded,
)
from nova_lite.guest.policy import cpu_set
from nova_lite.inventory.moves import open_moves
from nova_lite.inventory.numa_host import host_cells
from nova_lite.loops.evacuated import EvacuatedServers
from nova_lite.loops.schedule import periodic_tasks
from nova_lite.membership.survey import Survey
from nova_lite.rpc.endpoint import VERBS
from nova_lite.services.toolbox import Toolbox
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import wrap
from tests.fakes.agent import stand_ins
from tests.fakes.cloud import FakeImageSource, Ledger, TapVifs
from tests.fakes.conductor import FakeConductor
from tests.fakes.keys import LedgerKeys
from tests.fakes.manila import DirectoryShares, FakeShareDrivers
from tests.fakes.power_failure import DurableFiles
from tests.fakes.volume_driver import FakeVolumeDrivers, FileVolumes
from tests.functional.exchange import told
from tests.functional.others import OtherHosts

# Methods that change the world: after each of them there is a boundary.
EFFECTS = {
    "ports": {
        "allocate", "deallocate", "bind", "unbind", "choose", "bind_one", "release_one",
        "hand_back", "announce_move",
    },
    "placement": {"delete_allocations", "move_allocations"},
    "bindings": {"make", "activate", "drop"},
    "peers": {"call", "cast"},
    "hypervisor": {
        "define", "redefine", "start", "resume", "shutdown", "destroy", "undefine",
        "pause", "save", "restore", "inject_nmi", "mirror_disk", "finish_mirror", "drop_mirror",
        "freeze", "thaw", "set_password", "attach_disk", "detach_disk", "attach_nic",
        "detach_nic", "set_secret", "forget_secret", "begin_move", "finish_move", "drop_move",
        "resize_disk", "migrate", "abort_migration", "announce", "set_tpm_secret",
        "forget_tpm_secret",
    },  # fmt: skip
    "image_store": {"upload", "delete"},
    "vif_driver": {"plug", "unplug"},
    "disks": {"create", "remove", "grow"},
    "volume": {"connect", "disconnect"},
    "share": {"mount", "unmount"},
    "manila": {"allow", "deny"},
    "cinder": {
        "create_volume", "delete_volume", "create_attachment", "update_attachment",
        "complete_attachment", "delete_attachment", "roll_detaching", "reimage_volume",
        "migrate_volume_completion", "complete_extend", "update_snapshot_status",
    },  # fmt: skip
}


@dataclass
class Order:
    """What a child is to do.

    ``at``: boundary -> one of ``{"kill": true}``, ``{"kill in": seconds}``, ``{"pause": name}``
    (touch ``name.reached``, wait for ``name.go``; with ``"then": "kill"`` it dies), ``{"deliver":
    message, "after": seconds, "set": fields of the record}``.
    ``record``: file for the names of all boundaries passed. ``lose_replies``: the first answer to
    every call of the conductor and of other hosts is lost on its way. ``exchange``: the socket over
    which other hosts are called, see ``exchange``. ``answer``: file for what a caller gets.
    ``fail_start``: no guest starts here. ``fail_upload``: the image service takes no images.
    ``fail_attach``: no guest takes a disk, ``fail_move``: nor moves one; ``fail_nic``: none takes a
    network card or gives one back. ``guest_agent``: an agent answers in the guest; what it did is
    in the ledger. ``joins``: do what an agent does at its start and at its first look around,
    beside going on with the journal. ``durable``: directory for what survives a power failure.
    """

    state: str
    cloud: str
    log: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    at: dict[str, dict[str, Any]] = field(default_factory=dict)
    record: str | None = None
    lose_replies: bool = False
    fail_start: bool = False
    fail_upload: bool = False
    fail_attach: bool = False
    fail_move: bool = False
    fail_nic: bool = False
    guest_agent: bool = False
    joins: bool = False
    durable: str | None = None
    exchange: str | None = None
    answer: str | None = None
    node_id: int = 1
    boot_id: str = ""


class Boundaries:
    """Where something may happen to the agent."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._seen: Counter[str] = Counter()
        self.deliver: Callable[[dict[str, Any]], object]

    def passed(self, boundary: str) -> None:
        order = self._order
        if order.record:
            with open(order.record, "a") as file:
                file.write(boundary + "\n")
        action = order.at.get(boundary, {})
        if action.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if "kill in" in action:
            threading.Timer(action["kill in"], os.kill, [os.getpid(), signal.SIGKILL]).start()
        if "pause" in action:
            self._pause(Path(order.state) / action["pause"])
            if action.get("then") == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        if "set" in action:
            FakeConductor(Path(order.cloud) / "conductor.json").set(
                action["deliver"]["args"]["instance"]["nova_object.data"]["uuid"], **action["set"]
            )
        if "after" in action:
            threading.Timer(action["after"], self.deliver, [action["deliver"]]).start()
        elif "deliver" in action:
            self.deliver(action["deliver"])

    def effect(self, name: str) -> None:
        """After the n-th effect of this name; the agent has not yet noted it."""
        self._seen[name] += 1
        self.passed(f"{name}#{self._seen[name]}")

    def asked_again(self, name: str) -> bool:
        return self._seen[name] % 2 == 0

    @staticmethod
    def _pause(name: Path) -> None:
        name.with_suffix(".reached").touch()
        while not name.with_suffix(".go").exists():
            time.sleep(0.02)


class Watched:
    """An object whose effects are boundaries."""

    def __init__(self, label: str, target: Any, boundaries: Boundaries) -> None:
        self.__dict__.update(_label=label, _target=target, _boundaries=boundaries)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name not in EFFECTS[self._label]:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            self._boundaries.effect(f"{self._label}.{name}")
            return result

        return call


class WatchedConductor(FakeConductor):
    """After each call there is a boundary; the first answer of each kind may get lost."""

    def __init__(self, path: Path, ledger: Ledger, boundaries: Boundaries, lossy: bool) -> None:
        super().__init__(path, ledger)
        self._boundaries, self._lossy = boundaries, lossy

    def _answered(self, name: str) -> None:
        self._boundaries.effect(name)
        if self._lossy and not self._boundaries.asked_again(name):
            raise ControlPlaneUnavailable(f"nova-conductor did not answer {name} in time")

    def class_call(self, context, method, *args, **kwargs):
        result = super().class_call(context, method, *args, **kwargs)
        self._answered(method)
        return result

    def object_call(self, context, obj, method, **kwargs):
        result = super().object_call(context, obj, method, **kwargs)
        self._answered(f"{obj.name}.{method}")
        return result

    def task_cast(self, context, method, version, **arguments):
        super().task_cast(context, method, version, **arguments)
        self._answered(method)


def refuse(uuid: str, disk: Any = None, *, paused: bool = False) -> None:
    raise HypervisorError("internal error: QEMU exited: no memory")


def refuse_move(uuid: str, serial: str, disk: Any) -> None:
    raise HypervisorError("internal error: unable to execute QEMU command 'blockdev-mirror'")


def refuse_nics(found: LibvirtHypervisor) -> None:
    """The guest keeps the cards that it has; one that has none to give is asked for none."""

    def detach(uuid: str, mac: str, device: str) -> None:
        if any(tap == device for _, tap in found.taps(uuid)):
            raise DeviceDetachFailed(mac, "the guest did not release it")

    found.attach_nic, found.detach_nic = refuse, detach  # type: ignore[method-assign]


class GuestAgent:
    """Stands in for the agent in a guest."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def install(self, hypervisor: Any) -> None:
        hypervisor.freeze = lambda uuid: self._did(frozen=True)
        hypervisor.thaw = lambda uuid: self._did(frozen=False)
        hypervisor.set_password = lambda uuid, user, secret: self._did(password=[user, secret])

    def _did(self, **what: Any) -> None:
        with self._ledger.open() as content:
            content.setdefault("guest", {}).update(what)


def compose(order: Order, boundaries: Boundaries) -> Composition:
    """The agent of a host with a real hypervisor and real taps; all of its effects are watched."""
    state, cloud = Path(order.state), Path(order.cloud)
    conf = load.load(["--config-file", str(state / "nova.conf")], "victim")
    ledger = Ledger(cloud / "cloud.json")
    others = OtherHosts(state, cloud, conf.host, lossy=order.lose_replies, exchange=order.exchange)

    def watched(label: str, target: Any) -> Any:
        return Watched(label, target, boundaries)

    around = stand_ins(state, cloud, conf.host)
    around["ports"].bindings = watched("bindings", around["ports"].bindings)
    parts = {
        **around,
        "observer": boundaries.passed,
        "boot_id": order.boot_id,
        "peers": others,
        "remote_files": others.files,
        "conductor": WatchedConductor(
            cloud / "conductor.json", ledger, boundaries, order.lose_replies
        ),
        "hypervisor": hypervisor(order, conf, ledger),
        "vif_driver": TapVifs(),
        "disks": disk.from_conf(conf),
        "image_store": image_store(order),
        "keys": LedgerKeys(ledger, KeyManager(Sessions(conf), conf)),
        "volumes": FakeVolumeDrivers(watched("volume", FileVolumes(state, cloud))),
        "shares": FakeShareDrivers(watched("share", DirectoryShares(state, cloud))),
    }
    return Composition(
        conf,
        **{name: watched(name, part) if name in EFFECTS else part for name, part in parts.items()},
    )


def hypervisor(order: Order, conf: Any, ledger: Ledger) -> LibvirtHypervisor:
    """libvirt, connected; what it is to refuse it refuses."""
    found = LibvirtHypervisor(conf)
    found.connect()
    if order.fail_start:
        found.start = refuse
    if order.fail_move:
        found.begin_move = refuse_move
    if order.fail_attach:
        found.attach_disk = refuse
    if order.fail_nic:
        refuse_nics(found)
    if order.guest_agent:
        GuestAgent(ledger).install(found)
    return found


def image_store(order: Order) -> FakeImageSource:
    store = FakeImageSource(Path(order.cloud) / "images")
    if order.fail_upload:
        store.refusal = ImageQuotaExceeded("The image service is full")
    return store


def carry_out(order: Order) -> None:
    """The child's life."""
    logging.basicConfig(filename=order.log, level=logging.INFO, format="%(process)d %(message)s")
    if order.durable:
        DurableFiles(Path(order.state), Path(order.durable)).record()
    boundaries = Boundaries(order)
    parts = compose(order, boundaries)
    tools = parts.toolbox(parts.hypervisor.facts(), parts.conf.host, order.node_id)
    count(parts, tools, FakeConductor(Path(order.cloud) / "conductor.json"))
    agent = parts.engine(tools)

    def deliver(message: dict[str, Any]) -> Future[Any]:
        arguments = wrap(message["args"])
        request = (
            message["method"],
            RequestContext({"request_id": message["request_id"]}),
            arguments["instance"]["uuid"],
            arguments,
        )
        entry = agent.accept(*request)
        if entry is None:
            return agent.answer_to(*request)
        agent.start(entry)
        return entry.answer

    boundaries.deliver = deliver
    if order.joins:
        join(tools, agent)
    else:
        agent.resume()
    answers = [deliver(message) for message in order.messages]
    settle(agent)
    if order.answer:
        Path(order.answer).write_text(told(answers[-1]))
    if order.joins:
        look_around(tools, agent)
    parts.close()


def count(parts: Composition, tools: Toolbox, conductor: FakeConductor) -> None:
    """What ``service.Agent`` knows of the CPUs that are used here, where guests are pinned."""
    options = parts.conf.compute
    if options.cpu_dedicated_set is None:
        return
    shared = cpu_set("cpu_shared_set", options.cpu_shared_set)
    dedicated = cpu_set("cpu_dedicated_set", options.cpu_dedicated_set)
    parts.claims.set_host(host_cells(tools.facts, shared=shared, dedicated=dedicated))
    instances, migrations = Instances(conductor), Migrations(conductor)
    parts.claims.restore(instances.by_host(RequestContext.admin(), tools.host))
    parts.claims.keep(open_moves(instances, migrations, tools.host, tools.node))


def join(tools: Toolbox, agent: Engine) -> None:
    """What ``service.Agent`` does before messages arrive and after those that waited."""
    instances = tools.instances.by_host(RequestContext.admin(), tools.host)
    apart = agent.resume()
    apart |= EvacuatedServers(tools.host, tools.migrations, agent).look()
    survey = Survey.of(tools, agent, VERBS)
    unsettled = survey.unsettled(instances, apart)
    survey.restore_power(apart)
    survey.settle(unsettled)


# Those of the periodic tasks that an agent begins with and that settle what it finds.
AT_FIRST = ("power state sync", "leftover directories")


def look_around(tools: Toolbox, agent: Engine) -> None:
    """Carry out the periodic tasks once, one after the other."""
    tasks = {timer.name: timer for timer in periodic_tasks(tools.conf, tools, agent)}
    for name in AT_FIRST:
        tasks[name].tick()
        settle(agent)


def settle(agent: Engine) -> None:
    if not agent.settle(120):
        raise SystemExit("operations did not end")


def child(order: Order) -> None:
    status = 1
    try:
        carry_out(order)
        status = 0
    except BaseException:
        logging.getLogger(__name__).exception("the victim failed")
    finally:
        logging.shutdown()
        os._exit(status)


def main() -> None:
    for line in sys.stdin:
        order = Order(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            child(order)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
