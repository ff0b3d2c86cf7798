"""The host itself: room for disks, a place in memory for secrets, tools, and what ports need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from nova_lite.configdrive import writer
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.drivers.vif.ovsdb import REMEDY, Ovsdb, connection_of
from nova_lite.engine.secrets import MEMORY
from nova_lite.errors import SwitchUnavailable, VifTypeUnsupported
from nova_lite.inventory import disk
from nova_lite.mount_table import file_system
from nova_lite.preflight.base import Check, Finding, failure, ok, warning
from nova_lite.preflight.env import Env

LEAST_GB = 1
LOW_GB = 10


def _disk(env: Env) -> Finding:
    path = Path(env.conf.instances_path)
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        return failure(
            f"{existing} is not writable for this user",
            f"make {path} and give it to the user that the agent runs as",
        )
    space = disk.look(path)
    text = f"{path}: {space.free_gb} of {space.total_gb} GiB free"
    if space.available_least_gb < 0:
        text += f", {-space.available_least_gb} GiB less than promised to servers"
    if space.free_gb < LEAST_GB:
        return failure(text, DISK.remedy)
    if space.free_gb < LOW_GB or space.available_least_gb < 0:
        return warning(text, DISK.remedy)
    return ok(text)


def _secrets(env: Env) -> Finding:
    """Whether what is written to runtime_path is on no disk."""
    path = Path(env.conf.nova_lite.runtime_path)
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    kind = file_system(existing)
    if kind not in MEMORY:
        return warning(f"{path} is on {kind or 'an unknown file system'}", SECRETS.remedy)
    return ok(f"{path} is in memory ({kind})")


def _drive_tools(env: Env) -> Finding:
    """Whether the programs that make a config drive are there."""
    wanted = writer.programs(env.conf.config_drive_format, env.conf.mkisofs_cmd)
    missing = [name for name in wanted if shutil.which(name) is None]
    if not missing:
        return ok(f"{env.conf.config_drive_format} by {', '.join(wanted)}")
    text = f"not installed: {', '.join(missing)}"
    if env.conf.force_config_drive:
        return failure(f"{text}; every server gets a config drive", DRIVE.remedy)
    return warning(f"{text}; servers with a config drive cannot be built", DRIVE.remedy)


def _ovs(env: Env) -> Finding:
    """ovsdb-server answers and has the integration bridge, and ovs-vswitchd serves it."""
    switch, bridge = Ovsdb(connection_of(env.conf)), env.conf.neutron.ovs_bridge
    if not switch.askable:
        return failure(
            f"{switch.where}: only unix:PATH and tcp:HOST:PORT can be checked", OVS.remedy
        )
    try:
        datapath = switch.bridges().get(bridge)
        if datapath is not None:
            switch.check()
    except SwitchUnavailable as error:
        return failure(error.message, OVS.remedy)
    if datapath is not None:
        return ok(f"{switch.where} and ovs-vswitchd answer, {bridge} exists (datapath {datapath})")
    return failure(
        f"{switch.where} answers, but has no bridge {bridge}",
        f"start ovn-controller or the Neutron OVS agent, which makes {bridge}, or correct "
        "[neutron]ovs_bridge",
    )


def _vif_drivers(env: Env) -> Finding:
    """Every VIF driver that is installed can be loaded, and no kind of ports has two."""
    drivers, broken = VifDrivers(env.conf), []
    for kind in drivers.kinds:
        try:
            drivers.load(kind)
        except VifTypeUnsupported as error:
            broken.append(error.message)
    if broken:
        return failure("; ".join(broken), VIF_DRIVERS.remedy)
    return ok(f"there are drivers for {', '.join(drivers.kinds)}")


DISK = Check(
    "disk space",
    _disk,
    "free space below instances_path, or point it at a larger file system",
)
SECRETS = Check(
    "secrets in memory",
    _secrets,
    "point [nova_lite]runtime_path to a tmpfs that survives a restart of the agent, such as the "
    "host's /run",
)
DRIVE = Check(
    "config drives",
    _drive_tools,
    "install them, or name another program in [DEFAULT]mkisofs_cmd",
)
OVS = Check("Open vSwitch", _ovs, REMEDY)
VIF_DRIVERS = Check(
    "VIF drivers",
    _vif_drivers,
    "install what the driver needs into the environment of the agent, or remove its package",
)
CHECKS = (DISK, SECRETS, DRIVE, OVS, VIF_DRIVERS)
