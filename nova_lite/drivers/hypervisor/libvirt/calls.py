"""Calls into libvirt about one connection or one guest; what every part of the driver builds on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import libvirt

from nova_lite.drivers.hypervisor.libvirt.connection import CALL_TIMEOUT, Connection

T = TypeVar("T")


class Calls:
    """Runs functions on the connection, each with a time limit in seconds."""

    _connection: Connection

    def _call(self, what: str, function: Callable[[Any], T], timeout: float = CALL_TIMEOUT) -> T:
        return self._connection.call(what, function, timeout)

    def _with_domain(
        self,
        what: str,
        uuid: str,
        function: Callable[[Any], T],
        timeout: float = CALL_TIMEOUT,
    ) -> T:
        """Run ``function(virDomain)``; raises DomainNotFound when there is none."""
        return self._call(what, lambda c: function(c.lookupByUUIDString(uuid)), timeout)


def find(connection: Any, uuid: str) -> Any:
    """The domain, or None."""
    try:
        return connection.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def is_invalid(error: libvirt.libvirtError) -> bool:
    """The domain is not in a state that allows it, or gone."""
    return error.get_error_code() in (
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_NO_DOMAIN,
    )
