"""What nova.conf takes away from, or adds to, what the host offers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite.inventory.claims import Claims
from nova_lite.membership.capacity import Capacity
from nova_lite.wire.objects import WireObject
from tests.fakes.conf_file import read_conf
from tests.fakes.hypervisor import FakeHypervisor


class Reported:
    """ComputeNodes and Provider in one: what they were given."""

    def __init__(self):
        self.state, self.fields = None, {}

    def create(self, context, **fields):
        self.fields.update(fields)
        return WireObject.new("ComputeNode", "1.19", id=1, **fields)

    def save(self, context, record, **fields):
        self.fields.update(fields)

    def set_disabled(self, disabled):
        pass

    def sync(self, state):
        self.state = state


class Host(FakeHypervisor):
    """Four CPUs, of which the last two are offline."""

    def facts(self):
        return replace(
            super().facts(),
            online_cpus=frozenset({0, 1}),
            present_cpus=frozenset(range(4)),
        )


@pytest.fixture
def report(tmp_path):
    """Report a host with some options in nova.conf."""

    def report(claims=None, **groups):
        groups["DEFAULT"] = {"host": "node1", "instances_path": str(tmp_path), "my_ip": "::1"}
        found = Reported()
        capacity = Capacity(
            read_conf(tmp_path, groups),
            nodes=found,
            hypervisor=Host(),
            claims=claims or Claims(),
            provider=found,
            node_uuid="5f7c9d3a-0000-4000-8000-00000000fa4e",
            record=None,
        )
        capacity.report(WireObject.new("Service", "1.22", id=1, disabled=False))
        return found

    return report


@pytest.mark.parametrize(
    ("excluded", "offered"), [("", True), ("raw", True), ("qcow2", False), ("raw,QCOW2", False)]
)
def test_an_excluded_image_type_is_not_offered(report, excluded, offered):
    """The scheduler asks for the trait of the image's format."""
    traits = report(compute={"image_type_exclude_list": excluded}).state.traits

    assert ("COMPUTE_IMAGE_TYPE_QCOW2" in traits) is offered


@pytest.mark.parametrize(("threshold", "told"), [("10", "2"), ("1", "2"), ("0", "0")])
def test_failed_builds_are_told_unless_switched_off(report, threshold, told):
    """Any number but 0 switches it on, as in nova."""
    claims = Claims()
    claims.build_ended(failed=True)
    claims.build_ended(failed=True)

    found = report(claims, compute={"consecutive_build_service_disable_threshold": threshold})

    assert found.fields["stats"]["failed_builds"] == told


@pytest.mark.parametrize(("managed", "pcpus"), [("true", 3), ("false", 1)])
def test_dedicated_cpus_that_sleep_count_where_they_are_woken(report, managed, pcpus):
    """Stock nova-compute leaves them offline; a guest that is pinned to them wakes them."""
    found = report(
        compute={"cpu_dedicated_set": "1-3"}, libvirt={"cpu_power_management": managed}
    )

    assert found.state.inventories["PCPU"].total == pcpus
    assert found.fields["vcpus"] == pcpus
