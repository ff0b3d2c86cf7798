"""What a guest has on its host without a record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.services import interfaces

MAC = "fa:16:3e:00:00:01"


def work_of(devices: list[str], *, switch: bool) -> Any:
    return SimpleNamespace(
        uuid="server",
        notes={},
        tools=SimpleNamespace(
            conf=SimpleNamespace(neutron=SimpleNamespace(ovs_bridge="br-int")),
            hypervisor=SimpleNamespace(taps=lambda uuid: [(MAC, device) for device in devices]),
            vif_driver=SimpleNamespace(uses_switch=switch),
        ),
    )


@pytest.mark.parametrize(("switch", "vif_type"), [(True, "ovs"), (False, "tap")])
def test_a_tap_without_a_record_is_unplugged_where_it_is(switch: bool, vif_type: str) -> None:
    """A host without Open vSwitch would ask in vain for it; devices of other kinds go by
    themselves."""
    found = interfaces._of_taps(work_of(["tap1", "macvtap0", "vhu1"], switch=switch))

    assert [(vif.devname, vif.vif_type, vif.mac) for vif in found] == [("tap1", vif_type, MAC)]
