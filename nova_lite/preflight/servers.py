"""The servers and guests that are on this host already, from nova-compute."""

from __future__ import annotations

from nova_lite.preflight.base import Check, Finding, ok, warning
from nova_lite.preflight.env import Env
from nova_lite.preflight.hypervisor import LIBVIRT
from nova_lite.preflight.messaging import CONDUCTOR

SHOWN = 5


def _servers(env: Env) -> Finding:
    """Servers with devices that the agent cannot give to a guest (PCI, vGPU, TPM ...)."""
    from nova_lite.conductor.instances import Instances
    from nova_lite.services import definable
    from nova_lite.wire.context import RequestContext

    instances = Instances(env.conductor).by_host(RequestContext.admin(), env.conf.host)
    found = definable.on_host(env.hypervisor, instances, env.conf)
    if not found:
        return ok(f"{len(instances)} servers on this host, none with foreign devices")
    named = [f"{uuid} ({reason})" for uuid, reason in sorted(found.items())]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return warning(
        f"of {len(instances)} servers on this host, {len(found)} cannot be started, rebooted or "
        f"rebuilt by this agent: {', '.join(named[:SHOWN])}{more}",
        SERVERS.remedy,
    )


SERVERS = Check(
    "servers",
    _servers,
    "move these servers to hosts with nova-compute, or leave nova-compute on this host",
    needs=(CONDUCTOR.name, LIBVIRT.name),
)
CHECKS = (SERVERS,)
