"""Diagnostics in both their forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from nova_lite.errors import ServerInvalidState
from nova_lite.handlers.diagnostics import Diagnostics
from nova_lite.model.domain import NicSpec
from nova_lite.model.states import PowerState
from nova_lite.wire.context import RequestContext
from nova_lite.wire.exceptions import outgoing
from nova_lite.wire.objects import WireObject, unwrap
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor

CONTEXT = RequestContext.admin()


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def instance(hypervisor: FakeHypervisor, tmp_path: Path) -> WireObject:
    nic = NicSpec(mac="52:54:00:12:34:56", plug="tap", target="tap1")
    spec = tiny_guest(tmp_path, nics=(nic,))
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)
    launched = datetime.now(UTC) - timedelta(seconds=100)
    return WireObject.new(
        "Instance", "2.8", uuid=spec.uuid, config_drive="True",
        launched_at=launched.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )  # fmt: skip


@pytest.fixture
def diagnostics(hypervisor: FakeHypervisor) -> Diagnostics:
    conf = SimpleNamespace(libvirt=SimpleNamespace(virt_type="kvm"), force_config_drive=False)
    return Diagnostics(SimpleNamespace(hypervisor=hypervisor, conf=conf))


def test_the_object_has_every_field(diagnostics: Diagnostics, instance: WireObject) -> None:
    """nova-api reads all of them; one that is not there is an error 500."""
    found = diagnostics.get_instance_diagnostics(CONTEXT, instance)

    assert (found.name, found.version) == ("Diagnostics", "1.0")
    assert 100 <= found["uptime"] < 110
    assert found["memory_details"].data == {"maximum": 64, "used": 64}
    assert found["cpu_details"][0].data == {"id": 0, "time": 10**9, "utilisation": None}
    assert found["disk_details"][0].data == {
        "read_bytes": 512,
        "read_requests": 1,
        "write_bytes": 1024,
        "write_requests": 2,
        "errors_count": 0,
    }
    assert found["nic_details"][0].data == {
        "mac_address": "52:54:00:12:34:56",
        "rx_octets": 1,
        "rx_packets": 2,
        "rx_errors": 3,
        "rx_drop": 4,
        "rx_rate": None,
        "tx_octets": 5,
        "tx_packets": 6,
        "tx_errors": 7,
        "tx_drop": 8,
        "tx_rate": None,
    }
    rest = {name: value for name, value in found.data.items() if not name.endswith("details")}
    del rest["uptime"]
    assert rest == {
        "state": "running",
        "driver": "libvirt",
        "hypervisor": "kvm",
        "hypervisor_os": "linux",
        "config_drive": True,
        "num_cpus": 1,
        "num_nics": 1,
        "num_disks": 1,
    }
    assert isinstance(unwrap(found)["nova_object.data"]["nic_details"][0], dict)


def test_the_old_form_is_flat(diagnostics: Diagnostics, instance: WireObject) -> None:
    """Names begin with the device."""
    assert diagnostics.get_diagnostics(CONTEXT, instance) == {
        "cpu0_time": 10**9,
        "vda_read_req": 1,
        "vda_read": 512,
        "vda_write_req": 2,
        "vda_write": 1024,
        "vda_errors": 0,
        "tap1_rx": 1,
        "tap1_rx_packets": 2,
        "tap1_rx_errors": 3,
        "tap1_rx_drop": 4,
        "tap1_tx": 5,
        "tap1_tx_packets": 6,
        "tap1_tx_errors": 7,
        "tap1_tx_drop": 8,
        "memory": 64 * 1024,
        "memory-actual": 64 * 1024,
        "memory-rss": 64 * 1024,
    }


@pytest.mark.parametrize(
    ("state", "name"),
    [(PowerState.PAUSED, "paused"), (PowerState.SHUTDOWN, "shutdown"), (None, "pending")],
)
def test_a_guest_that_does_not_run_has_none(
    diagnostics: Diagnostics,
    hypervisor: FakeHypervisor,
    instance: WireObject,
    state: PowerState | None,
    name: str,
) -> None:
    """The API makes its own 409 of what the error carries."""
    if state is None:
        hypervisor.guests.clear()
    else:
        hypervisor.guests[instance["uuid"]].state = state

    with pytest.raises(ServerInvalidState) as caught:
        diagnostics.get_instance_diagnostics(CONTEXT, instance)

    sent = outgoing(caught.value)
    assert type(sent).__name__ == "InstanceInvalidState"
    assert sent.kwargs == {"attr": "power state", "state": name, "code": 409}  # type: ignore[attr-defined]
