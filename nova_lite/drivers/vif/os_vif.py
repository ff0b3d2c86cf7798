"""Plugging ports with os-vif, the library that Neutron's drivers bring their plugins for.

https://docs.openstack.org/os-vif/latest/
"""

from __future__ import annotations

import logging
import re
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

from nova_lite.drivers import oslo_globals
from nova_lite.drivers.vif import os_vif_objects as objects
from nova_lite.drivers.vif.base import VifDriver
from nova_lite.drivers.vif.ovsdb import Ovsdb, connection_of
from nova_lite.errors import SwitchUnavailable, VifPlugError, VifTypeUnsupported
from nova_lite.model.domain import NicSpec
from nova_lite.model.network import Vif

LOG = logging.getLogger(__name__)

COMMANDS = re.compile(r"^Commands \[.*\](?= exceeded timeout)", re.DOTALL)

TYPES = ("ovs", "bridge", "vhostuser", "tap")
# What Neutron calls a port that no host serves: it has no host side.
NOWHERE = ("", "unbound", "binding_failed")
NET = Path("/sys/class/net")
# Seconds that os-vif waits for a switch that dies in the middle of a request, unless nova.conf says
# it. Its own default is two minutes for each of the requests that make up a port.
OVSDB_S = 30

_lock = threading.Lock()  # os-vif's plugins and the options they read exist once per process


class OsVifDriver(VifDriver):
    """Ports of Open vSwitch and OVN, Linux bridges, vhost-user sockets and routed taps.

    :param conf: the options; os-vif's own groups ([os_vif_ovs], [vif_plug_ovs_privileged] ...) are
        read from its configuration files
    """

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._ready = False

    @cached_property
    def _switch(self) -> Ovsdb:
        return Ovsdb(connection_of(self._conf))

    def initialize(self) -> None:
        """Load os-vif and its plugins; done by itself at the first port, repeating is free.

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

    def check(self) -> None:
        if not self._switch.askable:
            return  # os-vif speaks to it by other ways
        self._switch.check()
        self.uses_switch = True

    def supports(self, vif: Vif) -> bool:
        return vif.vif_type in TYPES and vif.vnic_type == objects.NORMAL

    def plug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        self._check(vif)
        if vif.vif_type != "tap":  # libvirt makes that one, its network agent finds it
            self._call("plug", vif, server_uuid, server_name, project_id)

    def unplug(self, vif: Vif, *, server_uuid: str, server_name: str, project_id: str) -> None:
        if vif.vif_type in NOWHERE:
            return
        self._check(vif)
        if vif.vif_type != "tap":
            self._call("unplug", vif, server_uuid, server_name, project_id)

    def plugged(self, vif: Vif) -> bool:
        self._check(vif)
        if objects.makes_tap(vif) and not _exists(vif.devname):
            return False
        port = objects.ovs_port_of(vif)
        if port is not None:
            return self._in_ovs(vif, port)
        if vif.vif_type == "bridge":
            return _exists(objects.bridge_of(vif))
        return True  # nothing is made before the guest starts

    def plugged_vifs(self, server_uuid: str | None = None) -> dict[str, list[Vif]]:
        found: dict[str, list[Vif]] = {}
        if self._switch.askable:
            for port in self._switch.ports(server_uuid):
                if not port.name.startswith(objects.PREFIXES):
                    continue  # a piece of hardware
                found.setdefault(port.server_uuid, []).append(objects.vif_of(port))
        return found

    def nic(self, vif: Vif, *, model: str | None, queues: int | None) -> NicSpec:
        self._check(vif)
        return NicSpec(
            mac=vif.mac, target=vif.devname, model=model, queues=queues, mtu=vif.network.mtu,
            **self._way(vif),
        )  # fmt: skip

    def _way(self, vif: Vif) -> dict[str, Any]:
        if vif.vif_type == "vhostuser":
            path, mode = objects.socket_of(vif)
            return {"plug": "vhostuser", "source_path": path, "source_mode": mode}
        if vif.vif_type == "bridge" or objects.hybrid(vif):
            return {"plug": "bridge", "bridge": objects.bridge_of(vif)}
        if objects.makes_tap(vif):
            return {"plug": "tap"}
        return {"plug": "ethernet"}

    def _check(self, vif: Vif) -> None:
        if not self.supports(vif):
            raise VifTypeUnsupported(
                f"port {vif.id}: vif_type {vif.vif_type!r} with vnic_type {vif.vnic_type!r} is not "
                f"supported; supported are {', '.join(TYPES)} with vnic_type {objects.NORMAL}"
            )

    def _call(self, verb: str, vif: Vif, *server: str) -> None:
        self._await_switch(vif)
        self.initialize()
        import os_vif
        from os_vif.exception import ExceptionBase

        try:
            getattr(os_vif, verb)(objects.to_os_vif(vif), objects.instance_info(*server))
        except (ExceptionBase, ValueError) as exc:
            # os-vif prints the whole object before it comes to the cause.
            cause = exc.__context__ or exc
            raise VifPlugError(f"cannot {verb} port {vif.id}: {_said(cause)}") from exc

    def _await_switch(self, vif: Vif) -> None:
        """:raises SwitchUnavailable: os-vif would wait for a long time, and say nothing at last"""
        if objects.ovs_port_of(vif) is None:
            return
        self.uses_switch = True
        try:
            self.check()
        except SwitchUnavailable as error:
            raise SwitchUnavailable(f"port {vif.id}: {error.message}") from error

    def _in_ovs(self, vif: Vif, port: str) -> bool:
        """Whether Open vSwitch has the port, asked through os-vif's own connection."""
        self._await_switch(vif)
        self.initialize()
        import os_vif

        plugin = os_vif._EXT_MANAGER["ovs"].obj
        try:
            return bool(plugin.ovsdb.port_exists(port, vif.network.bridge))
        except Exception as exc:  # ovsdbapp lets anything through
            raise VifPlugError(f"port {vif.id}: Open vSwitch does not answer: {exc}") from exc


def _said(cause: BaseException) -> str:
    """The text without the commands that ovsdbapp prints before it says what is wrong."""
    return COMMANDS.sub("the request to Open vSwitch", str(cause))


def _exists(device: str) -> bool:
    return (NET / device).exists()
