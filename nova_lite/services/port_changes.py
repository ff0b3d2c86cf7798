"""What Neutron has of the ports of servers beside their network caches, in few calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from nova_lite.clients.neutron import IDS_PER_CALL, Api
from nova_lite.clients.neutron_vifs import Surroundings, profile_of
from nova_lite.model.network import NORMAL, Vif
from nova_lite.model.states import TaskState, VmState
from nova_lite.wire.objects import WireObject

FIELDS = (
    "id",
    "device_id",
    "mac_address",
    "fixed_ips",
    "binding:host_id",
    "binding:vif_type",
    "binding:vnic_type",
    "binding:profile",
)


def heals(instance: WireObject) -> bool:
    """Whether a cache is nobody else's business: a build makes it, a delete needs it."""
    building = instance.get("vm_state") == VmState.BUILDING
    return not building and instance.get("task_state") != TaskState.DELETING


def changed(
    admin: Api, servers: Mapping[str, Sequence[Vif] | None], host: str
) -> Iterator[str]:
    """The servers whose caches do not show what Neutron has.

    Compared is what a cache has of the ports themselves: which there are, their addresses, fixed
    and floating, and their bindings. It takes one call for 100 servers, and one for 100 ports.

    :param admin: Neutron as an administrator sees it
    :param servers: server uuid -> its cache; None: there is none that can be read
    :param host: that the ports are to be bound to
    """
    rows: dict[str, list[dict[str, Any]]] = {uuid: [] for uuid in servers}
    for some in _parts(sorted(servers)):
        for row in admin.ports(device_id=some, fields=FIELDS):
            rows[row["device_id"]].append(row)
    around = Surroundings()
    ids = sorted(row["id"] for mine in rows.values() for row in mine)
    for some in _parts(ids):
        around.add_floating_ips(admin, some)
    for uuid, known in servers.items():
        if known is None or not _same(known, rows[uuid], around, host):
            yield uuid


def older(admin: Api, server_uuid: str, moment: str | None) -> set[str]:
    """The server's ports that were made before ``moment``; none where it is not told when."""
    rows = admin.ports(device_id=server_uuid, fields=("id", "created_at"))
    return {row["id"] for row in rows if _is_before(row.get("created_at"), moment)}


def _is_before(made: str | None, moment: str | None) -> bool:
    try:
        return datetime.fromisoformat(made or "") < datetime.fromisoformat(moment or "")
    except (ValueError, TypeError):
        return False


def _parts(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), IDS_PER_CALL):
        yield ids[start : start + IDS_PER_CALL]


def _same(
    known: Iterable[Vif], rows: Iterable[Mapping[str, Any]], around: Surroundings, host: str
) -> bool:
    return {vif.id: _of_cache(vif, host) for vif in known} == {
        row["id"]: _of_neutron(row, around) for row in rows
    }


def _of_cache(vif: Vif, host: str) -> tuple[Any, ...]:
    addresses = {
        ip.address: sorted(ip.floating_ips) for subnet in vif.network.subnets for ip in subnet.ips
    }
    return vif.mac, addresses, host, vif.vif_type, vif.vnic_type, dict(vif.profile)


def _of_neutron(row: Mapping[str, Any], around: Surroundings) -> tuple[Any, ...]:
    fixed = [ip["ip_address"] for ip in row.get("fixed_ips") or ()]
    addresses = {ip: sorted(around.floating.get((row["id"], ip), ())) for ip in fixed}
    return (
        row["mac_address"],
        addresses,
        row.get("binding:host_id"),
        row.get("binding:vif_type") or "",
        row.get("binding:vnic_type") or NORMAL,
        profile_of(row),
    )
