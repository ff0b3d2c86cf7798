"""What the checks share: the configuration and connections, made at the first use."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

from oslo_config import cfg

CALL_S = 10  # seconds for one call of the conductor, in place of rpc_response_timeout


class Env:
    """Shared by checks that run side by side.

    :param conf: the options of the agent
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        self._lock = threading.RLock()

    @cached_property
    def sessions(self) -> Any:
        from nova_lite.clients.session import Sessions

        return Sessions(self.conf)

    @cached_property
    def _transport(self) -> Any:
        from nova_lite.rpc import transport

        return transport.make(self.conf)

    @property
    def transport(self) -> Any:
        """The RPC transport; making it registers oslo.messaging's options, it does not connect."""
        with self._lock:
            return self._transport

    @cached_property
    def _conductor(self) -> Any:
        from nova_lite.conductor.client import Conductor

        conductor = Conductor(self.transport)
        self.conf.set_override("rpc_response_timeout", CALL_S)
        return conductor

    @property
    def conductor(self) -> Any:
        with self._lock:
            return self._conductor

    @cached_property
    def _hypervisor(self) -> Any:
        from nova_lite.drivers import loader
        from nova_lite.options import HYPERVISORS

        name = HYPERVISORS.get(self.conf.compute_driver, self.conf.compute_driver)
        hypervisor = loader.load("hypervisor", name, self.conf)
        hypervisor.connect()
        return hypervisor

    @property
    def hypervisor(self) -> Any:
        """Connected; raises what ``Hypervisor.connect`` does."""
        with self._lock:
            return self._hypervisor

    def hide(self, text: str) -> str:
        """``text`` without the passwords of transport_url."""
        from oslo_messaging import TransportURL
        from oslo_messaging.exceptions import MessagingException

        try:
            hosts = TransportURL.parse(self.conf, self.conf.transport_url).hosts
        except (MessagingException, cfg.Error, ValueError):
            return text
        for host in hosts:
            if host.password and len(host.password) > 3:
                text = text.replace(host.password, "***")
        return text
