"""Broker, conductor, and what the cloud's records say about this host."""

from __future__ import annotations

import time
from pathlib import Path

from nova_lite.errors import NovaLiteError, ServiceTooOld
from nova_lite.membership import identity, version
from nova_lite.preflight.base import Check, Finding, failure, ok, warning
from nova_lite.preflight.env import Env
from nova_lite.rpc import transport


def _amqp(env: Env) -> Finding:
    """Log in to every broker of transport_url, as each may be the next one used."""
    from oslo_messaging import TransportURL

    _ = env.transport  # registers [oslo_messaging_rabbit]
    url = TransportURL.parse(env.conf, env.conf.transport_url)
    if url.transport not in ("rabbit", "kombu"):
        return warning(
            f"transport_url uses {url.transport}, which is not checked",
            "use rabbit, the only driver this agent is tested with",
        )
    answers, problems = [], []
    for host in url.hosts:
        where = f"{host.hostname}:{host.port or 5672}"
        began = time.monotonic()
        problem = transport.login(env.conf, url, host)
        if problem:
            problems.append(f"{where} {problem}")
        else:
            answers.append(f"{where} ({1000 * (time.monotonic() - began):.0f} ms)")
    if not answers:
        return failure("; ".join(problems) or "transport_url names no host", AMQP.remedy)
    if problems:
        return warning(
            f"{', '.join(answers)} answer, but not {'; '.join(problems)}",
            "repair the broker, or take it out of [DEFAULT]transport_url",
        )
    return ok(f"logged in at {', '.join(answers)}")


def _conductor(env: Env) -> Finding:
    seconds = env.conductor.ping(timeout=10)
    return ok(f"answers in {1000 * seconds:.0f} ms")


def _service_version(env: Env) -> Finding:
    """Which version this host would report, and whether the cell takes it."""
    from nova_lite.conductor.services import Services
    from nova_lite.wire.context import RequestContext

    services, context = Services(env.conductor), RequestContext.admin()
    control_plane = max(services.conductor_versions(context), default=None)
    floor = services.minimum_version(context)
    configured = env.conf.nova_lite.service_version
    try:
        chosen = version.choose(configured, control_plane, floor)
    except ServiceTooOld as error:
        return failure(error.message, SERVICE_VERSION.remedy)
    known = f"{version.SUPPORTED[0]} to {version.SUPPORTED[-1]}"
    text = (
        f"this host would report {chosen} (control plane {control_plane or 'unknown'}, lowest "
        f"nova-compute of the cell {floor or 'none'}, tested {known})"
    )
    if control_plane and not version.SUPPORTED[0] <= control_plane <= version.SUPPORTED[-1]:
        return warning(text, "use a release of nova_lite that was tested with this control plane")
    return ok(text)


def _identity(env: Env) -> Finding:
    """compute_id, host and the hypervisor's host name against the records of the cloud."""
    from nova_lite.conductor.services import ComputeNodes, Services
    from nova_lite.wire.context import RequestContext

    conf, context = env.conf, RequestContext.admin()
    directories = [Path(name).parent for name in conf.config_file or ()] + [Path(conf.state_path)]
    node_uuid = identity.read(dict.fromkeys(directories))
    service = Services(env.conductor).of_host(context, conf.host)
    if node_uuid is None:
        if service is None:
            return ok(f"host {conf.host!r} is new to the cloud")
        nodes = ComputeNodes(env.conductor).of_host(context, conf.host)
        known = ", ".join(str(node["uuid"]) for node in nodes) or "unknown"
        return failure(
            f"the cloud knows host {conf.host!r}, but its compute_id file is lost",
            f"write its uuid ({known}) to {Path(conf.state_path) / identity.FILE_NAME}",
        )
    node = ComputeNodes(env.conductor).by_uuid(context, node_uuid)
    if node is None:
        if service is not None:
            return warning(
                f"compute_id {node_uuid} is unknown to the cloud, host {conf.host!r} is known",
                "make sure that the file was not copied from elsewhere",
            )
        return ok(f"host {conf.host!r} is new to the cloud, its compute_id is {node_uuid}")
    if node["host"] != conf.host:
        return failure(
            f"compute_id {node_uuid} belongs to host {node['host']!r}, not {conf.host!r}",
            "set [DEFAULT]host back, or remove a compute_id file copied from another host",
        )
    recorded, actual = node["hypervisor_hostname"], _hypervisor_hostname(env)
    if actual is not None and actual != recorded:
        return failure(
            f"compute_id {node_uuid} belongs to the hypervisor {recorded!r}, libvirt says "
            f"{actual!r}",
            "give the machine its old host name back",
        )
    return ok(f"host {conf.host!r} is {node_uuid} ({recorded})")


def _hypervisor_hostname(env: Env) -> str | None:
    """None when the hypervisor does not tell; a check of its own says why."""
    try:
        return str(env.hypervisor.facts().hostname)
    except NovaLiteError:
        return None


AMQP = Check(
    "AMQP",
    _amqp,
    "check [DEFAULT]transport_url, the broker's user and virtual host, and the firewall",
    limit_s=30,
)
CONDUCTOR = Check(
    "conductor",
    _conductor,
    "start nova-conductor, and let transport_url name the broker and virtual host of its cell",
    needs=("AMQP",),
)
SERVICE_VERSION = Check(
    "service version",
    _service_version,
    "use a release of nova_lite for this control plane, or correct [nova_lite]service_version",
    needs=("conductor",),
    limit_s=25,
)
IDENTITY = Check(
    "identity",
    _identity,
    "put the right uuid into compute_id; 'openstack hypervisor list' shows it",
    needs=("conductor",),
    limit_s=35,
)
CHECKS = (AMQP, CONDUCTOR, SERVICE_VERSION, IDENTITY)
