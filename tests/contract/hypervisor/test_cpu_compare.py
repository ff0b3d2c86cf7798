"""What every hypervisor driver promises of the CPUs of other hosts (hypervisor/live_migrations.py).

libvirt compares with what its hypervisor gives to guests: here an emulator, which has a model of
its own, wherever this runs.
"""

from __future__ import annotations

from typing import Any

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import CpuIncompatible
from tests.contract.hypervisor.test_hypervisor_contract import hypervisor
from tests.fakes.hypervisor import FakeHypervisor

__all__ = ["hypervisor"]

EMULATED = {
    "arch": "x86_64",
    "model": "qemu64",
    "topology": {"cells": 1, "sockets": 1, "cores": 2, "threads": 1},
    "features": ["hypervisor", "la57", "umip"],
}
# One that no emulator has, and one that there is not.
NOWHERE = ("avx512f", "divination")


@pytest.fixture
def cpu(hypervisor: Hypervisor) -> dict[str, Any]:
    """The CPU that guests have here, as another host with the same one tells of it."""
    if isinstance(hypervisor, FakeHypervisor):
        return dict(hypervisor.facts().cpu)
    return EMULATED


def test_the_same_cpu_suffices(hypervisor: Hypervisor, cpu: dict[str, Any]) -> None:
    """All of it, and as often as it is asked for."""
    for _ in range(2):
        hypervisor.compare_cpu(cpu)


def test_a_cpu_with_less_suffices(hypervisor: Hypervisor, cpu: dict[str, Any]) -> None:
    """What is not told is not compared."""
    hypervisor.compare_cpu({**cpu, "features": []})
    hypervisor.compare_cpu({name: cpu[name] for name in ("arch", "model")})


@pytest.mark.parametrize("feature", NOWHERE)
def test_a_feature_that_is_missing_is_named(
    hypervisor: Hypervisor, cpu: dict[str, Any], feature: str
) -> None:
    """The others are not to blame."""
    with pytest.raises(CpuIncompatible, match=rf"Unacceptable CPU info: .*\b{feature}$") as caught:
        hypervisor.compare_cpu({**cpu, "features": [*cpu["features"], feature]})

    assert not [name for name in cpu["features"] if name in str(caught.value)]


def test_a_model_that_nobody_knows_is_named(hypervisor: Hypervisor, cpu: dict[str, Any]) -> None:
    """As that of a newer host."""
    with pytest.raises(CpuIncompatible, match="Abacus-9000"):
        hypervisor.compare_cpu({**cpu, "model": "Abacus-9000"})
