"""What is refused before anybody is contacted, and parts that are replaced."""

from __future__ import annotations

import pytest

from nova_lite import composition
from nova_lite.conf import load
from nova_lite.engine.journal import Journal
from nova_lite.errors import InvalidConfiguration, JournalError
from nova_lite.model.states import PowerState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject, unwrap
from tests.fakes.agent import FakeAgent
from tests.fakes.clock import ManualClock
from tests.fakes.conf_file import read_conf
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor


@pytest.mark.parametrize(
    ("group", "name", "value", "match"),
    [
        ("libvirt", "images_type", "lvm", r"images_type=lvm is not supported: use one of"),
        ("compute", "cpu_shared_set", "abc", r"cpu_shared_set: 'abc' is not a CPU"),
        ("compute", "cpu_dedicated_set", "2-1", r"cpu_dedicated_set"),
        ("DEFAULT", "reserved_huge_pages", "node:x,size:4,count:1", r"reserved_huge_pages"),
        ("upgrade_levels", "compute", "essex", r"\[upgrade_levels\]compute is 'essex'"),
    ],
)
def test_values_that_mean_nothing(tmp_path, group, name, value, match):
    """The option is named; no record of this host is made on the way."""
    with pytest.raises(InvalidConfiguration, match=match):
        composition.check(read_conf(tmp_path, {group: {name: value}}))


def test_usual_values_pass(tmp_path):
    """As most clouds have them."""
    composition.check(read_conf(tmp_path, {"compute": {"cpu_shared_set": "0-3,^1"}}))


@pytest.mark.parametrize("name", ["state_path", "instances_path"])
def test_paths_are_absolute(tmp_path, name):
    """The agent's working directory means nothing."""
    with pytest.raises(InvalidConfiguration, match=rf"\[DEFAULT\]{name} is 'var/nova'.*absolute"):
        load.check(read_conf(tmp_path, {"DEFAULT": {name: "var/nova", "my_ip": "127.0.0.1"}}))


def test_an_address_that_nobody_knows(tmp_path):
    """my_ip may be a name, but one that can be resolved; .invalid never can (RFC 2606)."""
    good = {"state_path": str(tmp_path), "my_ip": "127.0.0.1"}
    load.check(read_conf(tmp_path, {"DEFAULT": {**good, "my_ip": "localhost"}}))

    with pytest.raises(InvalidConfiguration, match=r"\[DEFAULT\]my_ip is 'nobody.invalid'"):
        load.check(read_conf(tmp_path, {"DEFAULT": {**good, "my_ip": "nobody.invalid"}}))


def test_a_state_path_that_cannot_be_written(tmp_path):
    """Found at start, not when the first message comes."""
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(JournalError, match="state_path"):
        Journal(file / "journal").prepare()


# --- parts ------------------------------------------------------------------------------------
def conf_of(tmp_path):
    return read_conf(tmp_path, {"DEFAULT": {"state_path": str(tmp_path), "my_ip": "127.0.0.1"}})


def test_a_part_is_replaced_by_name_and_the_real_one_is_not_built(tmp_path):
    """Nothing asks for credentials, a broker or libvirt here."""
    agent = FakeAgent(conf_of(tmp_path), clock=(clock := ManualClock()))

    assert agent.tools.clock is clock and agent.tools.events._clock is clock
    assert isinstance(agent.tools.hypervisor, FakeHypervisor)
    assert "transport" not in vars(agent.parts)


def test_a_part_that_there_is_not_is_named(tmp_path):
    """A typo would leave the real part in its place."""
    with pytest.raises(TypeError, match="hypervizor"):
        composition.Composition(conf_of(tmp_path), hypervizor=None)


def test_the_composed_agent_carries_out_what_it_is_asked_for(tmp_path):
    """Toolbox, pools, queues, journal and verbs fit together."""
    agent = FakeAgent(conf_of(tmp_path))
    agent.hypervisor.define(spec := tiny_guest(tmp_path))
    instance = WireObject.new(
        "Instance", "2.8", uuid=spec.uuid, host=agent.tools.host, vm_state="active",
        task_state="pausing", system_metadata={}, power_state=1,
    )  # fmt: skip
    agent.conductor.add_instance(unwrap(instance))
    agent.hypervisor.start(spec.uuid)

    agent.engine.begin("pause_instance", RequestContext.admin(), spec.uuid, {"instance": instance})
    assert agent.engine.settle(20)

    assert agent.hypervisor.power_state(spec.uuid) == PowerState.PAUSED
    assert agent.conductor.instance(spec.uuid)["vm_state"] == "paused"
    assert list(agent.parts.journal.entries()) == []
