"""Looks at a guest that is being sent, when libvirt cannot tell."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from nova_lite.drivers.hypervisor.libvirt.live_migration import Migrations
from nova_lite.drivers.hypervisor.libvirt.sending import Sendings
from nova_lite.errors import HypervisorUnavailable

UUID = "11111111-2222-3333-4444-555555555555"


class Refusal(libvirt.libvirtError):
    def __init__(self, code: int, message: str) -> None:
        self.err = (code, libvirt.VIR_FROM_QEMU, message, 2, None, None, None, 0, 0)
        Exception.__init__(self, message)


class Busy:
    """A connection with one guest, whose monitor a migration that stalls holds."""

    def lookupByUUIDString(self, uuid: str) -> Any:
        return self

    def UUIDString(self) -> str:
        return UUID

    def state(self) -> tuple[int, int]:
        return libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED

    def jobStats(self, flags: int) -> dict[str, Any]:
        raise Refusal(
            libvirt.VIR_ERR_OPERATION_TIMEOUT,
            "Timed out during operation: cannot acquire state change lock (held by "
            "monitor=remoteDispatchDomainMigratePerform3Params)",
        )


class Driver(Migrations):
    def __init__(self) -> None:
        self._sendings = Sendings("test:///default")

    def _call(self, what: str, function: Any, timeout: float = 0.0) -> Any:
        return function(Busy())


@pytest.mark.parametrize("look", ["migration", "guest_at"])
def test_a_stalled_migration_is_not_seen(look: str) -> None:
    """Nothing is concluded from that: it may still come to its end."""
    driver = Driver()
    with pytest.raises(HypervisorUnavailable, match="state change lock"):
        driver.migration(UUID) if look == "migration" else driver.guest_at(None, UUID)
