"""Plugging ports with os-vif, the library that Neutron's drivers bring their plugins for.

https://docs.openstack.org/os-vif/latest/
"""

from __future__ import annotations

import re
import threading
from abc import abstractmethod
from functools import cached_property
from typing import Any

from nova_lite.drivers import oslo_globals
from nova_lite.drivers.vif import os_vif_objects as objects
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.drivers.vif.ovsdb import Ovsdb, connection_of
from nova_lite.errors import SwitchUnavailable, VifPlugError
from nova_lite.model.network import Vif

COMMANDS = re.compile(r"^Commands \[.*\](?= exceeded timeout)", re.DOTALL)

# Seconds that os-vif waits for a switch that dies in the middle of a request, unless nova.conf says
# it. Its own default is two minutes for each of the requests that make up a port.
OVSDB_S = 30

_lock = threading.Lock()  # os-vif's plugins and the options they read exist once per process


class OsVifDriver(VifDriver):
    """A kind of ports whose host side a plugin of os-vif makes.

    :param conf: the options; os-vif's own groups ([os_vif_ovs], [vif_plug_ovs_privileged] ...) are
        read from its configuration files
    """

    uses_switch = False

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._ready = False

    @abstractmethod
    def to_os_vif(self, vif: Vif) -> Any:
        """The os-vif object of the port: which plugin makes its host side, and of what."""

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        self._call("plug", vif, server_uuid, server_name, project_id)

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        self._call("unplug", vif, server_uuid, server_name, project_id)

    def _call(self, verb: str, vif: Vif, *server: str) -> None:
        self._await_switch(vif)
        self.prepare()
        import os_vif
        from os_vif.exception import ExceptionBase

        try:
            getattr(os_vif, verb)(self.to_os_vif(vif), objects.instance_info(*server))
        except (ExceptionBase, ValueError) as exc:
            # os-vif prints the whole object before it comes to the cause.
            cause = exc.__context__ or exc
            raise VifPlugError(f"cannot {verb} port {vif.id}: {_said(cause)}") from exc

    # --- the library ------------------------------------------------------------------------
    def prepare(self) -> None:
        """Load os-vif and its plugins.

        :raises VifPlugError: os-vif or one of its plugins cannot be loaded
        """
        with _lock:
            if self._ready:
                return
            import os_vif
            from os_vif.exception import ExceptionBase

            oslo_globals.share_options(self._conf)
            try:
                os_vif.initialize()
            except (ExceptionBase, ImportError, ValueError) as exc:
                raise VifPlugError(f"os-vif cannot be initialised: {exc}") from exc
            oslo_globals.stay_in_process("vif_plug_", ".privsep")
            self._limit_patience()
            self._ready = True

    def _limit_patience(self) -> None:
        """Wait less for Open vSwitch than os-vif would, where nova.conf does not say how long."""
        import os_vif
        from oslo_config import cfg

        if "ovs" not in os_vif._EXT_MANAGER:
            return
        shared = oslo_globals.share_options(self._conf)
        said = shared.get_location("ovs_vsctl_timeout", "os_vif_ovs")
        if said is None or said.location is cfg.Locations.opt_default:
            os_vif._EXT_MANAGER["ovs"].obj.ovsdb.timeout = OVSDB_S

    # --- Open vSwitch -----------------------------------------------------------------------
    @cached_property
    def _switch(self) -> Ovsdb:
        return Ovsdb(connection_of(self._conf))

    def _check_switch(self) -> None:
        if not self._switch.askable:
            return  # os-vif speaks to it by other ways
        self._switch.check()
        self.uses_switch = True

    def _await_switch(self, vif: Vif) -> None:
        """:raises SwitchUnavailable: os-vif would wait for a long time, and say nothing at last"""
        if not self.needs_switch(vif):
            return
        self.uses_switch = True
        try:
            self._check_switch()
        except SwitchUnavailable as error:
            raise SwitchUnavailable(f"port {vif.id}: {error.message}") from error

    def _in_switch(self, vif: Vif, port: str) -> bool:
        """Whether Open vSwitch has the port, asked through os-vif's own connection."""
        self._await_switch(vif)
        self.prepare()
        import os_vif

        plugin = os_vif._EXT_MANAGER["ovs"].obj
        try:
            return bool(plugin.ovsdb.port_exists(port, vif.network.bridge))
        except Exception as exc:  # ovsdbapp lets anything through
            raise VifPlugError(f"port {vif.id}: Open vSwitch does not answer: {exc}") from exc


def _said(cause: BaseException) -> str:
    """The text without the commands that ovsdbapp prints before it says what is wrong."""
    return COMMANDS.sub("the request to Open vSwitch", str(cause))
