"""Keystone, Placement, Neutron and Glance, with the credentials that the agent will use."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from nova_lite.clients.placement import Placement
from nova_lite.errors import ControlPlaneUnavailable, CredentialsInvalid, InvalidConfiguration
from nova_lite.guest.policy import tpm_modes
from nova_lite.model.tpm import DEPLOYMENT, EXTRA_SPEC
from nova_lite.preflight.base import Check, Finding, failure, ok, warning
from nova_lite.preflight.env import Env

SERVICES = (("placement", "placement"), ("neutron", "network"), ("glance", "image"))
# Beyond the second one tokens and TLS begin to fail.
SKEW_WARNING_S = 5.0
SKEW_FAILURE_S = 60.0
# Agents that bind ports of servers on a host.
L2_AGENTS = (
    "OVN Controller agent",
    "OVN Controller Gateway agent",
    "Open vSwitch agent",
    "NIC Switch agent",
    "Macvtap agent",
)


def _keystone(env: Env) -> Finding:
    """A token for each service the agent talks to."""
    problems = []
    for group, service_type in SERVICES:
        try:
            api = env.sessions.service(group, service_type)
            api.auth.get_token(api.session)
        except (CredentialsInvalid, ControlPlaneUnavailable, InvalidConfiguration) as error:
            problems.append(error.message)
    if problems:
        return failure("; ".join(dict.fromkeys(problems)), KEYSTONE.remedy)
    return ok(f"tokens for {', '.join(group for group, _ in SERVICES)}")


def _clock(env: Env) -> Finding:
    """This machine's clock against Keystone's."""
    api = env.sessions.service("placement", "placement")
    before = time.time()
    theirs = _time_of_keystone(api)
    after = time.time()
    if theirs is None:
        return warning("Keystone does not tell its time", CLOCK.remedy)
    # What it tells is cut to whole seconds and belongs to some moment between the two.
    skew = max(before - (theirs + 1), theirs - after, 0.0)
    if skew < SKEW_WARNING_S:
        return ok(f"agrees with Keystone's within {max(skew, 1.0):.0f} s")
    found = failure if skew >= SKEW_FAILURE_S else warning
    return found(f"{skew:.0f} s apart from Keystone's", CLOCK.remedy)


def _tpm_keys(env: Env) -> Finding:
    """Whether there are credentials for the keys that belong to the compute service."""
    if DEPLOYMENT not in tpm_modes(env.conf.libvirt):
        return ok("this host offers none whose keys are the compute service's")
    try:
        env.sessions.deployment()
    except CredentialsInvalid as error:
        return warning(
            f"servers with {EXTRA_SPEC} = {DEPLOYMENT} could not start here: {error.message}",
            TPM_KEYS.remedy,
        )
    return ok("[service_user] has credentials for those that are the compute service's")


def _time_of_keystone(api: Any) -> float | None:
    """Seconds since the epoch, by the Date header or else (uWSGI sends none) by a new token."""
    from keystoneauth1 import exceptions

    plugin = getattr(api.auth, "_auth", api.auth)
    try:
        answer = api.session.get(plugin.auth_url, authenticated=False, raise_exc=False, timeout=10)
        if "Date" in answer.headers:
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()
        return float(plugin.get_auth_ref(api.session).issued.timestamp())
    except (AttributeError, TypeError, ValueError):  # not a plugin that logs in
        return None
    except exceptions.ClientException as exc:
        raise ControlPlaneUnavailable(f"Keystone does not answer: {exc}") from exc


def _placement(env: Env) -> Finding:
    placement = Placement(env.sessions.service("placement", "placement"))
    found = placement.provider_by_name(env.conf.host)
    return ok(
        f"answers; resource provider {found['uuid']}"
        if found
        else f"answers; no resource provider is named {env.conf.host!r} yet"
    )


def _neutron(env: Env) -> Finding:
    """Whether an agent is there that binds ports for exactly the name in [DEFAULT]host."""
    host = env.conf.host
    api = env.sessions.service("neutron", "network")
    status, body = _get(api, "neutron", f"/v2.0/agents?host={host}")
    if status != 200 or not isinstance(body, dict):
        return _refused("Neutron", status, NEUTRON.remedy)
    agents = [row for row in body.get("agents", ()) if row.get("agent_type") in L2_AGENTS]
    alive = [row["agent_type"] for row in agents if row.get("alive")]
    if alive:
        return ok(f"answers; {', '.join(alive)} of host {host!r} is alive")
    state = "is not alive" if agents else "is unknown to Neutron"
    return warning(
        f"answers, but an agent that binds ports of host {host!r} {state}: servers would fail with "
        "PortBindingFailed",
        "start ovn-controller or the Neutron agent of this host, under the same host name as "
        "[DEFAULT]host",
    )


def _glance(env: Env) -> Finding:
    api = env.sessions.service("glance", "image")
    servers = list(env.conf.glance.api_servers or ()) or [api.get_endpoint() or ""]
    problems = []
    for server in servers:
        url = server.rstrip("/").removesuffix("/v2")
        if not url:
            return failure("the service catalog has no image endpoint", GLANCE.remedy)
        status, _ = _get(api, "glance", f"{url}/v2/images?limit=1")
        if status != 200:
            problems.append((url, status))
    if not problems:
        return ok(f"answers at {', '.join(servers)}")
    return _refused(f"Glance at {problems[0][0]}", problems[0][1], GLANCE.remedy)


def _get(api: Any, group: str, url: str) -> tuple[int, Any]:
    """(HTTP status, decoded body); raises ControlPlaneUnavailable and InvalidConfiguration."""
    from keystoneauth1 import exceptions

    try:
        answer = api.get(url, raise_exc=False, timeout=10)
    except exceptions.EndpointNotFound as exc:
        raise InvalidConfiguration(f"no endpoint for [{group}] in the service catalog") from exc
    except exceptions.ClientException as exc:
        raise ControlPlaneUnavailable(f"does not answer: {exc}") from exc
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, None


def _refused(who: str, status: int, remedy: str) -> Finding:
    if status in (401, 403):
        return failure(
            f"{who} refuses the agent's user ({status})",
            "give the user of the group the role 'service' or 'admin' in its project",
        )
    return failure(f"{who} answers {status}", remedy)


KEYSTONE = Check(
    "Keystone",
    _keystone,
    "set auth_url, username, password, project_name and the domains in [placement], [neutron] and "
    "[service_user]",
    limit_s=30,
)
CLOCK = Check(
    "clock",
    _clock,
    "synchronise the clock (chrony, systemd-timesyncd)",
    needs=("Keystone",),
)
TPM_KEYS = Check(
    "keys of TPMs",
    _tpm_keys,
    "give [service_user] the same user's credentials on all hosts, or name the others in "
    "[libvirt]supported_tpm_secret_security",
)
PLACEMENT = Check(
    "Placement",
    _placement,
    "check region_name and valid_interfaces of [placement], and that placement-api runs",
    needs=("Keystone",),
)
NEUTRON = Check(
    "Neutron",
    _neutron,
    "check region_name and valid_interfaces of [neutron], and that neutron-server runs",
    needs=("Keystone",),
)
GLANCE = Check(
    "Glance",
    _glance,
    "check [glance]api_servers, region_name and valid_interfaces, and that glance-api runs",
    needs=("Keystone",),
)
CHECKS = (KEYSTONE, TPM_KEYS, CLOCK, PLACEMENT, NEUTRON, GLANCE)
