"""The late check of server group policies."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite.conductor.groups import Groups
from nova_lite.errors import GroupPolicyViolation
from nova_lite.inventory.claims import Claims, Sizes
from nova_lite.services.groups import check_group_policy
from nova_lite.wire.exceptions import RemoteFailure
from nova_lite.wire.objects import WireObject

GROUP = "9c1a180a-1b90-4632-a16c-edd6302c3a7d"


class Database:
    """A conductor that knows one group and where its servers are."""

    def __init__(self, policy, members, rules=None, hosts=()):
        self.calls, self.hosts = [], list(hosts)
        self.group = WireObject.new(
            "InstanceGroup", "1.11", uuid=GROUP, policy=policy, members=members, _rules=rules or {}
        )

    def class_call(self, context, method, hint):
        self.calls.append(method)
        if hint not in (GROUP, "friends"):
            raise RemoteFailure("InstanceGroupNotFound", hint)
        return self.group

    def object_call(self, context, obj, method, exclude):
        self.calls.append(f"{obj.name}.{method}")
        return {}, [host for host in self.hosts if exclude == ["s1"]]


def check(database, *claimed, hints=None, in_spec=True, off=False):
    """Look at server s1, which claims after (or, where it is among them, like) ``claimed``."""
    claims = Claims()
    for uuid in (*claimed, "s1"):
        claims.claim(uuid, Sizes(1, 64))
    hints = {"group": [GROUP]} if hints is None else hints
    spec = WireObject.new("RequestSpec", "1.15", scheduler_hints=hints if in_spec else {})
    arguments = {
        "request_spec": spec,
        "filter_properties": {} if in_spec else {"scheduler_hints": hints},
    }
    conf = SimpleNamespace(workarounds=SimpleNamespace(disable_group_policy_check_upcall=off))
    tools = SimpleNamespace(claims=claims, groups=Groups(database), conf=conf, host="host1")
    check_group_policy(
        SimpleNamespace(uuid="s1", tools=tools, arguments=arguments, context=None)
    )


def test_without_a_group_nobody_is_asked():
    """Most servers have none."""
    database = Database("anti-affinity", ["s1", "s2"])
    check(database, "s2", hints={})
    check(database, "s2", hints={"group": []})
    assert database.calls == []


def test_the_workaround_spares_the_call():
    """Where a cell's conductor cannot reach the API's database."""
    database = Database("anti-affinity", ["s1", "s2"])
    check(database, "s2", off=True)
    assert database.calls == []


@pytest.mark.parametrize("in_spec", [True, False])
def test_a_second_server_of_an_anti_affinity_group_is_refused(in_spec):
    """Also when only the filter properties tell of the group, as after a reschedule."""
    with pytest.raises(GroupPolicyViolation, match="Anti-affinity"):
        check(Database("anti-affinity", ["s1", "s2"]), "s2", in_spec=in_spec)


def test_of_two_at_once_the_first_stays():
    """Others of the host, and members that claimed later, do not count."""
    check(Database("anti-affinity", ["s1", "s2"]), "s3", "s1", "s2")


def test_a_host_may_have_as_many_as_the_rule_says():
    """max_server_per_host: that many, and no more."""
    members = ["s1", "s2", "s3"]
    database = Database("anti-affinity", members, {"max_server_per_host": "2"})
    check(database, "s2")
    with pytest.raises(GroupPolicyViolation):
        check(database, "s2", "s3")


def test_affinity_is_about_where_the_others_are():
    """None anywhere, or here: fine; elsewhere only: refused."""
    check(Database("affinity", ["s1", "s2"]))
    check(Database("affinity", ["s1", "s2"], hosts=["host2", "host1"]))
    with pytest.raises(GroupPolicyViolation, match="Affinity"):
        check(Database("affinity", ["s1", "s2"], hosts=["host2"]))


@pytest.mark.parametrize("policy", ["soft-anti-affinity", "soft-affinity", None])
def test_soft_policies_are_wishes(policy):
    """The scheduler weighs them; nothing is refused."""
    check(Database(policy, ["s1", "s2"], hosts=["host2"]), "s2")


def test_a_group_by_name_and_one_that_is_gone():
    """A hint may name either; a group deleted meanwhile asks for nothing."""
    database = Database("anti-affinity", ["s1", "s2"])
    with pytest.raises(GroupPolicyViolation):
        check(database, "s2", hints={"group": "friends"})
    check(database, "s2", hints={"group": ["0" * 8 + GROUP[8:]]})
    assert database.calls == ["InstanceGroup.get_by_name", "InstanceGroup.get_by_uuid"]
