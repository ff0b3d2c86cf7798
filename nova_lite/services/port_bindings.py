"""What a compute host writes into a port when it binds it, and takes out again."""

from __future__ import annotations

from typing import Any

from nova_lite.clients.neutron import Neutron
from nova_lite.clients.neutron_vifs import Surroundings, profile_of
from nova_lite.errors import PortNotFound

# Keys of the binding profile that are a host's; all others are the user's or the operator's.
OUR_PROFILE_KEYS = (
    "allocation",
    "arq_uuid",
    "card_serial_number",
    "device_mac_address",
    "pci_slot",
    "pci_vendor_info",
    "pf_mac_address",
    "physical_network",
    "vf_num",
)
# In the profile: the host that the port's server goes to while it runs.
MIGRATING_TO = "migrating_to"
# binding:vif_type of a port that is on no host, or that its host cannot serve.
UNBOUND = ("unbound", "binding_failed")


def take_from_server(
    neutron: Neutron, context: Any, port: dict[str, Any], around: Surroundings
) -> None:
    """Take a port from its server and its host; the port stays.

    :param port: as Neutron has it; ``id``, ``network_id``, ``binding:profile``, and ``dns_name``
        where Neutron knows names
    :param around: with the port's network, if it has a ``dns_name``
    :raises PortNotFound: it is gone
    """
    values: dict[str, Any] = {
        "device_id": "",
        "device_owner": "",
        "binding__host_id": None,
        "binding__profile": without_ours(port),
    }
    named_by_user = bool(around.networks.get(port["network_id"], {}).get("dns_domain"))
    if "dns_name" in port and not named_by_user:
        values["dns_name"] = ""
    neutron.admin(context).update_port(port["id"], **values)
    if named_by_user:
        # The record lies in the user's zone, so only the user's rights reach it.
        neutron.user(context).update_port(port["id"], dns_name="")


def without_ours(port: dict[str, Any]) -> dict[str, Any]:
    """The port's binding profile without what a host wrote there."""
    return {k: v for k, v in profile_of(port).items() if k not in OUR_PROFILE_KEYS}


def say_migrating(admin: Any, server_uuid: str, host: str | None) -> None:
    """Write into the profiles of a server's ports where it goes, as far as they say otherwise.

    Some drivers of Neutron (DVR) prepare that host then.

    :param admin: Neutron, with the rights to change bindings
    :param host: None: nowhere
    """
    fields = ("id", "binding:host_id", "binding:profile")
    for port in admin.ports(device_id=server_uuid, fields=fields):
        profile = profile_of(port)
        bound_there = host is not None and port.get("binding:host_id") == host
        if bound_there or profile.get(MIGRATING_TO) == host:
            continue
        others = {key: value for key, value in profile.items() if key != MIGRATING_TO}
        said = {MIGRATING_TO: host} if host is not None else {}
        try:
            admin.update_port(port["id"], binding__profile={**others, **said})
        except PortNotFound:
            continue
