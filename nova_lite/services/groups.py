"""The late check of a server group's policy: two members may have been scheduled at once."""

from __future__ import annotations

from nova_lite.conductor.groups import Group
from nova_lite.errors import GroupPolicyViolation
from nova_lite.services.work import Work


def check_group_policy(work: Work) -> None:
    """Check that the group's policy allows the server on this host; its resources are claimed.

    Of two servers of an anti-affinity group the one that claimed first stays. A server without a
    group costs no call.

    :raises GroupPolicyViolation: another host has to be found
    """
    tools, hint = work.tools, group_hint(work)
    if hint is None or tools.conf.workarounds.disable_group_policy_check_upcall:
        return
    _check(work, tools.groups.named(work.context, hint))


def check_group_of_server(work: Work) -> None:
    """As :func:`check_group_policy`, where the request does not carry what its user asked for: one
    conductor call, also for a server without a group.

    :raises GroupPolicyViolation: another host has to be found
    """
    if not work.tools.conf.workarounds.disable_group_policy_check_upcall:
        _check(work, work.tools.groups.of_server(work.context, work.uuid))


def _check(work: Work, group: Group | None) -> None:
    if group is None:
        return
    tools = work.tools
    if group.policy == "anti-affinity":
        neighbours = tools.claims.before(work.uuid) & group.members
        if len(neighbours) >= group.per_host:
            raise GroupPolicyViolation("Anti-affinity instance group policy was violated.")
    elif group.policy == "affinity":
        hosts = tools.groups.hosts(work.context, group, work.uuid)
        if hosts and tools.host not in hosts:
            raise GroupPolicyViolation("Affinity instance group policy was violated.")


def group_hint(work: Work) -> str | None:
    """The group that the server's user asked for: a list with one entry in a request spec."""
    request_spec = work.arguments.get("request_spec")
    hints = request_spec.get("scheduler_hints") if request_spec is not None else None
    if not hints:
        hints = (work.arguments.get("filter_properties") or {}).get("scheduler_hints") or {}
    group = hints.get("group")
    if isinstance(group, list):
        group = group[0] if group else None
    return str(group) if group else None
