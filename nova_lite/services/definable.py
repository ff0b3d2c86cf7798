"""Servers with devices that this agent cannot give to a guest: it leaves them as they are.

A stock nova-compute may have made them on this host. Their guests run on; whatever would define
them anew, without these devices, is refused before the guest is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import (
    DomainNotFound,
    HypervisorUnavailable,
    NovaLiteError,
    UnsupportedByHost,
)
from nova_lite.guest import checks
from nova_lite.guest.policy import tpm_modes
from nova_lite.model.network import Vif
from nova_lite.model.server import Server
from nova_lite.services import hardware_ports
from nova_lite.wire import decode, network_info
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject


def refuse(
    server: Server, instance: WireObject, vifs: Iterable[Vif], *, swtpm: Collection[str] = ()
) -> None:
    """Refuse a guest that has, or is to have, such devices by its records.

    :param instance: its ``pci_requests`` and ``pci_devices`` are read, where they are loaded
    :param swtpm: for whose keys this host offers emulated TPMs; none: it does not
    :raises UnsupportedByHost: the message names what it is
    :raises InvalidGuestConfig: flavor or image contradict themselves about it
    """
    checks.refuse_features(server, swtpm=swtpm)
    _refuse_hardware(server, instance, vifs)


def _refuse_hardware(server: Server, instance: WireObject, vifs: Iterable[Vif]) -> None:
    """Refuse PCI devices, ports that are one (SR-IOV, vDPA) included: nothing here claims them, and
    two servers might get the same.
    """
    if named := _pci(instance):
        raise UnsupportedByHost(
            f"server {server.uuid} has PCI devices ({', '.join(named)}), which this agent cannot "
            "give to a guest; nova-compute can"
        )
    for vif in vifs:
        if not hardware_ports.is_accepted(vif.vnic_type):
            raise UnsupportedByHost(
                f"port {vif.id} of server {server.uuid} has vnic_type {vif.vnic_type}, which this "
                "agent cannot give to a guest; nova-compute can"
            )


def refuse_to_replace(hypervisor: Hypervisor, uuid: str) -> None:
    """Refuse to define a guest anew whose definition has such devices, whatever the records say.

    :raises UnsupportedByHost: the message names them
    """
    try:
        named = hypervisor.foreign_devices(uuid)
    except DomainNotFound:
        return
    if named:
        raise UnsupportedByHost(
            f"the guest of server {uuid} has devices that this agent cannot give to it "
            f"({', '.join(named)}); nova-compute can"
        )


def on_host(
    hypervisor: Hypervisor, instances: Iterable[WireObject], conf: Any
) -> dict[str, str]:
    """Server uuid -> why its guest cannot be defined here, of servers and guests of this host.

    :param instances: the servers, with flavor, system_metadata, info_cache and pci_requests
    :param conf: values of nova.conf
    :raises HypervisorUnavailable: guests cannot be listed
    """
    found: dict[str, str] = {}
    for instance in instances:
        try:
            _refuse_recorded(instance, conf)
        except NovaLiteError as error:
            found[str(instance["uuid"])] = error.message
    for domain in hypervisor.domains():
        try:
            refuse_to_replace(hypervisor, domain.uuid)
        except HypervisorUnavailable:
            raise
        except NovaLiteError as error:
            found.setdefault(domain.uuid, error.message)
    return found


def _refuse_recorded(instance: WireObject, conf: Any) -> None:
    context, template = RequestContext.admin(), conf.instance_name_template
    server = decode.server(instance, name_template=template, context=context)
    refuse(server, instance, network_info.cached(instance), swtpm=tpm_modes(conf.libvirt))


def _pci(instance: WireObject) -> list[str]:
    """What the server's PCI devices were asked for as, or where they are."""
    requests, devices = instance.get("pci_requests"), instance.get("pci_devices")
    named = [
        str(request.get("alias_name") or f"request {request.get('request_id')}")
        for request in (requests["requests"] if requests else ())
    ]
    found = devices.objects() if devices else ()
    return named or [str(device.get("address")) for device in found]
