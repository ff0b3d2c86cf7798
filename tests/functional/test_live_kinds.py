"""Live migrations of a server that a host cannot just take as it is: its CPU is pinned, its memory
is on a NUMA node, and one of its volumes is encrypted and has other limits by now.

Guest, libvirt and QEMU are real. Both hosts have the processors of this machine, of which each lets
another one be pinned to; under emulation a guest with one vCPU has a thread that can be.
"""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from nova_lite.errors import NovaLiteError
from tests.functional import prepare
from tests.functional.live_ends import (
    POST,
    PRE,
    Boundaries,
    each,
    ends,
    refuse,
    sample,
    target_killed,
)
from tests.functional.live_trial import CHECK, LIVE, LiveTrial, Upset
from tests.functional.messages import VOLUME, VOLUME_KEY, attach_arguments

__all__ = ["each", "sample"]

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(3600)]

CPUS = {"host1": 1, "host2": 0}  # which a guest may be pinned to
# Reads per second of the volume, by who asks Cinder when.
LIMITS = {"host1": "100", "host2": "50"}
OTHER = {"host1": "host2", "host2": "host1"}
# The ids of QEMU's threads that are a guest's vCPUs, and where they may run.
THREADS = """
for task in /proc/$(cat /run/libvirt/qemu/$(virsh domname {0}).pid)/task/*; do
    case $(cat $task/comm) in CPU*) grep Cpus_allowed_list $task/status;; esac
done"""


def numa(**cell):
    """An InstanceNUMATopology of one node."""
    data = {
        "id": 0, "cpuset": [], "pcpuset": [0], "cpuset_reserved": None, "memory": 32,
        "pagesize": None, "cpu_topology": None, "cpu_pinning_raw": None,
        "cpu_policy": "dedicated", "cpu_thread_policy": None, **cell,
    }  # fmt: skip
    names = {"nova_object.namespace": "nova", "nova_object.changes": []}
    return {
        **names, "nova_object.name": "InstanceNUMATopology", "nova_object.version": "1.3",
        "nova_object.data": {"emulator_threads_policy": None, "cells": [{
            **names, "nova_object.name": "InstanceNUMACell", "nova_object.version": "1.6",
            "nova_object.data": data,
        }]},
    }  # fmt: skip


def wish(trial):
    """Its flavor wants a CPU for itself, on a NUMA node."""
    with trial.conductor.database() as tables:
        row = tables["Instance"][trial.server]
        specs = row["flavor"]["nova_object.data"]["extra_specs"]
        specs.update({"hw:cpu_policy": "dedicated", "hw:numa_nodes": "1"})
        row["numa_topology"] = numa()


def describe_volume(trial, host, **more):
    """How Cinder describes the volume to a host that wants to connect it."""
    with trial.ledger.open() as content:
        content["cinder"]["volumes"][VOLUME].update(
            # To be written to it would have to be on storage that libvirt knows to be shared.
            connection={"access_mode": "ro", "qos_specs": {"read_iops_sec": LIMITS[host]}}, **more
        )


@pytest.fixture(scope="module")
def booted(lab):
    """It runs on host1."""
    made = lab.trial("host1", "host2", kind=LiveTrial)
    for name, host in made.hosts.items():
        pin, share = CPUS[name], CPUS[OTHER[name]]
        host.configure(f"cpu_dedicated_set = {pin}\ncpu_shared_set = {share}", "compute")
    wish(made)
    prepare.boot(made)
    prepare.reserve_encrypted_volume(made)
    made.hosts["host2"].configure(f"fixed_key = {VOLUME_KEY}", "key_manager")
    describe_volume(made, "host1")
    assert made.run(made.message("attach_volume", **attach_arguments())), made.lab.said()
    describe_volume(made, "host2", status="in-use")
    made.mark_disk()
    made.get_ready()
    yield made
    made.stop()


@pytest.fixture
def trial(booted):
    booted.restore()
    booted.set(migration_context=None)
    return booted


# --- looking ------------------------------------------------------------------------------------
def settled(trial):
    """The host that it is on, wholly: its CPU is that host's, now and when it starts the next time,
    and so is what opens its volume, which the other host has no means for."""
    wanted = ends(trial)
    host = trial.hosts[wanted]
    assert recorded(trial) == {"0": CPUS[wanted]}
    assert trial.conductor.instance(trial.server)["migration_context"] is None
    (secret,) = host.secrets()
    for more in ((), ("--inactive",)):
        found = described(trial, wanted, *more)
        assert found == (str(CPUS[wanted]), "0", secret, LIMITS[wanted])
    allowed = host.daemon.run("sh", "-c", THREADS.format(trial.server)).stdout.split()
    assert allowed == ["Cpus_allowed_list:", str(CPUS[wanted])]
    return wanted


def recorded(trial):
    """vCPU -> CPU, as the server's record has it."""
    topology = trial.conductor.instance(trial.server)["numa_topology"]
    (cell,) = topology["nova_object.data"]["cells"]
    return cell["nova_object.data"]["cpu_pinning_raw"]


def described(trial, host, *more):
    """CPU, NUMA node, secret and limit, as its definition on a host has them."""
    text = trial.hosts[host].daemon.run("virsh", "dumpxml", *more, trial.server).stdout
    root = ElementTree.fromstring(text)
    (pin,) = root.findall("cputune/vcpupin")
    (node,) = root.findall("numatune/memnode")
    (secret,) = root.findall("devices/disk//encryption/secret")
    limit = root.findtext("devices/disk/iotune/read_iops_sec")
    return pin.get("cpuset"), node.get("nodeset"), secret.get("uuid"), limit


# --- nobody disturbs it -------------------------------------------------------------------------
@pytest.fixture(scope="module")
def going(booted):
    """What a migration passes."""
    booted.restore()
    booted.set(migration_context=None)
    passed = Boundaries(booted, "kinds", (CHECK, PRE, LIVE, POST))
    message = booted.live_message(booted.check())
    assert booted.delivered("host1", message, record=passed.file(LIVE)), booted.lab.said()
    assert settled(booted) == "host2"
    return passed


@pytest.mark.core
def test_it_is_that_hosts_when_it_starts_again(going, booted):
    """With nobody but libvirt, as after a soft reboot: the CPU that the old host had given it is
    not this one's to give."""
    daemon = booted.hosts["host2"].daemon
    daemon.run("virsh", "-q", "destroy", booted.server)
    daemon.run("virsh", "-q", "start", booted.server)

    assert daemon.run("virsh", "-q", "vcpupin", booted.server).stdout.split() == ["0", "0"]


def test_one_that_does_not_go_is_as_it_was(trial):
    """libvirt refuses it when all is ready over there."""
    refuse(trial)

    assert trial.delivered("host1", trial.live_message(trial.check()))

    trial.await_calls()
    trial.deliver_casts()
    assert settled(trial) == "host1"


def test_a_host_without_a_free_cpu_refuses_it(trial):
    """Nothing is claimed, and it goes nowhere."""
    trial.hosts["host2"].configure("cpu_dedicated_set = \ncpu_shared_set = 0-1", "compute")

    with pytest.raises(NovaLiteError, match="host host2: Insufficient compute resources"):
        trial.check()

    assert recorded(trial) == {"0": CPUS["host1"]}
    assert trial.conductor.instance(trial.server)["migration_context"] is None


# --- agents are killed --------------------------------------------------------------------------
def test_the_agent_of_the_source_is_killed(going, sample, each):
    """The next one goes on."""

    def act(trial, boundary):
        trial.kill(boundary)
        assert trial.delivered("host1")
        assert settled(trial) == "host2"

    each(sample(going.of(LIVE)), act)


def test_the_target_is_killed_while_it_claims_a_cpu(going, sample, each):
    """Nothing is left of that, and the conductor may ask again; where only the answer is lost, the
    next claim takes the place of what the record has."""

    def act(trial, boundary):
        trial.set(migration_context=None)
        trial.upsets[CHECK] = Upset(kill=boundary)
        with pytest.raises(NovaLiteError):
            trial.check()
        if not boundary.endswith((":finished", ":closed")):
            assert trial.conductor.instance(trial.server)["migration_context"] is None
        assert trial.delivered("host1", trial.live_message(trial.check()))
        assert settled(trial) == "host2"

    each(sample(going.of(CHECK)), act)


@pytest.mark.parametrize("method", [PRE, POST])
def test_the_agent_of_the_target_is_killed(going, sample, each, method):
    """It is asked again, and does that once."""
    each(sample(going.of(method)), target_killed(method, settled))
