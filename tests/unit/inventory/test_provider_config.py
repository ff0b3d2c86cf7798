from __future__ import annotations

from pathlib import Path

import pytest

from nova_lite.errors import InvalidConfiguration
from nova_lite.inventory.provider import Inventory, ProviderState
from nova_lite.inventory.provider_config import combine, load

UUID = "8e5d3b6d-78d6-44bd-af08-700ae4892a12"
GOOD = """
meta: {schema_version: '1.0'}
providers:
  - identification: {uuid: WHO}
    inventories:
      additional:
        - CUSTOM_LICENSE: {total: 22, reserved: 2, max_unit: 10}
        - CUSTOM_DONGLE: {total: 1, allocation_ratio: 4.5}
    traits:
      additional: [CUSTOM_GOLD, HW_NIC_SRIOV]
"""


def test_no_directory_adds_nothing(tmp_path: Path) -> None:
    """The default location rarely exists."""
    assert load(tmp_path / "none", UUID, "node1") == ProviderState()


@pytest.mark.parametrize("who", ["$COMPUTE_NODE", UUID])
def test_a_file_adds_to_this_host(tmp_path: Path, who: str) -> None:
    """Inventories and traits are added to what the host has."""
    (tmp_path / "a.yaml").write_text(GOOD.replace("WHO", who))

    extra = load(tmp_path, UUID, "node1")

    assert extra.traits == {"CUSTOM_GOLD", "HW_NIC_SRIOV"}
    assert extra.inventories == {
        "CUSTOM_LICENSE": Inventory(22, 2, max_unit=10, ratio=1.0),
        "CUSTOM_DONGLE": Inventory(1, ratio=4.5),
    }
    both = combine(ProviderState({"VCPU": Inventory(2)}, frozenset({"COMPUTE_NODE"})), extra)
    assert set(both.inventories) == {"VCPU", "CUSTOM_LICENSE", "CUSTOM_DONGLE"}
    assert both.traits == extra.traits | {"COMPUTE_NODE"}


def test_other_providers_are_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file shared by many hosts names several of them."""
    (tmp_path / "a.yaml").write_text(GOOD.replace("{uuid: WHO}", "{name: node2}"))

    assert load(tmp_path, UUID, "node1") == ProviderState()
    assert "node2" in caplog.text
    assert load(tmp_path, UUID, "node2").traits


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("meta:", "mete:"),
        ("'1.0'", "'2.0'"),
        ("total: 22", "totals: 22"),
        ("total: 22", "total: many"),
        ("CUSTOM_LICENSE", "VCPU"),
        ("CUSTOM_GOLD", "COMPUTE_NODE"),
        ("additional: [CUSTOM_GOLD, HW_NIC_SRIOV]", "[CUSTOM_GOLD]"),
        ("CUSTOM_DONGLE", "CUSTOM_LICENSE"),
        ("providers:", "providers: ["),
    ],
)
def test_mistakes_name_the_file(tmp_path: Path, old: str, new: str) -> None:
    """A wrong file stops the agent with a message, before it reports nonsense."""
    (tmp_path / "wrong.yaml").write_text(GOOD.replace("WHO", "$COMPUTE_NODE").replace(old, new))

    with pytest.raises(InvalidConfiguration, match=r"wrong\.yaml"):
        load(tmp_path, UUID, "node1")
