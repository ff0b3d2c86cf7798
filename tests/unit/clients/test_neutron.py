"""The Neutron client: what it sends, and what refusals become."""

from __future__ import annotations

import pytest

from nova_lite import errors
from nova_lite.clients.neutron import Neutron
from nova_lite.clients.session import Sessions
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud, Reply
from tests.fakes.neutron import FakeNeutron, error


@pytest.fixture
def service():
    cloud = HttpCloud()
    yield FakeNeutron(cloud)
    cloud.close()


@pytest.fixture
def api(service, tmp_path):
    options = {
        **service.cloud.credentials("neutron"),
        "connect_retry_delay": "0.01",
        "status_code_retry_delay": "0.01",
    }
    return Neutron(Sessions(read_conf(tmp_path, {"neutron": options}))).admin()


def answer_with(service, reply):
    service.before.append(lambda call: reply)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (409, "IpAddressInUse", errors.FixedIpInUse),
        (409, "IpAddressAlreadyAllocated", errors.FixedIpInUse),
        (409, "OverQuota", errors.PortLimitExceeded),
        (409, "IpAddressGenerationFailure", errors.NoMoreFixedIps),
        (409, "MacAddressInUse", errors.PortInUse),
        (404, "NetworkNotFound", errors.NetworkNotFound),
        (404, "SecurityGroupNotFound", errors.SecurityGroupNotFound),
        (404, "PortNotFound", errors.PortNotFound),
        (409, "HostNotCompatibleWithFixedIps", errors.FixedIpInvalidOnHost),
        (404, "PortBindingNotFound", errors.PortBindingNotFound),
        (409, "PortBindingAlreadyExists", errors.PortBindingExists),
        (409, "PortBindingAlreadyActive", errors.PortBindingExists),
        (500, "PortBindingError", errors.PortBindingFailed),
        (400, "InvalidIpForNetwork", errors.FixedIpInvalid),
        (403, "PolicyNotAuthorized", errors.NetworkRequestInvalid),
        (500, "HTTPInternalServerError", errors.NetworkUnavailable),
    ],
)
def test_refusals_become_errors_that_say_why(service, api, status, kind, expected):
    """Neutron's error type decides; its message reaches the user."""
    answer_with(service, error(status, kind))
    with pytest.raises(expected, match=f"{kind} happened") as caught:
        api.create_port(network_id="x")
    assert type(caught.value) is expected


def test_an_answer_that_is_not_neutrons_is_understood_by_its_status(service, api):
    """A proxy's 404 on a port is a missing port, its 502 an outage."""
    answer_with(service, Reply(404, "not found"))
    with pytest.raises(errors.PortNotFound):
        api.update_port("p", device_id="")
    service.before[:] = [lambda call: Reply(502, ["bad gateway"])]
    with pytest.raises(errors.NetworkUnavailable, match="502"):
        api.update_port("p", device_id="")


def test_an_invalid_token_names_the_group(service, api):
    """A 401 that does not go away is a matter of configuration."""
    answer_with(service, Reply(401, {}))
    with pytest.raises(errors.CredentialsInvalid, match=r"\[neutron\]"):
        api.ports()


def test_filters_and_fields_travel_in_the_query(service, api):
    """Lists are repeated keys, double underscores are colons."""
    api.ports(binding__host_id="h", device_owner=["a", "b"], fields=("id", "binding:profile"))
    assert service.cloud.calls[-1].query == {
        "binding:host_id": ["h"],
        "device_owner": ["a", "b"],
        "fields": ["id", "binding:profile"],
    }


def test_many_ids_are_asked_for_in_several_calls(service, api):
    """A URL has limits; repeated ids are asked for once, no ids ask for nothing."""
    network = service.network("p")
    ids = [service.port(network)["id"] for _ in range(3)]
    unknown = [f"00000000-0000-0000-0000-{number:012d}" for number in range(240)]
    start = len(service.cloud.calls)
    rows = api.ports(id=ids + unknown + ids)
    assert sorted(row["id"] for row in rows) == sorted(ids)
    assert [len(call.query["id"]) for call in service.cloud.calls[start:]] == [100, 100, 43]
    assert api.ports(id=[]) == []
    assert len(service.cloud.calls) == start + 3


def test_pages_are_followed(service, api):
    """Neutron's page limit does not hide ports."""
    pages = [
        {
            "ports": [{"id": "1"}],
            "ports_links": [
                {"rel": "previous", "href": "http://x/v2.0/ports?limit=1"},
                {"rel": "next", "href": "http://x/v2.0/ports?limit=1&marker=1"},
            ],
        },
        {"ports": [{"id": "2"}], "ports_links": [{"rel": "previous", "href": "http://x/?q"}]},
    ]
    service.before.append(lambda call: Reply(200, pages[1 if "marker" in call.query else 0]))
    assert [row["id"] for row in api.ports()] == ["1", "2"]


def test_reads_are_repeated_after_an_outage_and_creation_is_not(service, api):
    """A POST whose fate is unknown must not make a second port by itself."""
    outage = [Reply(503), Reply(503)]
    service.before.append(lambda call: outage.pop() if outage else None)
    assert api.ports() == []
    outage.append(Reply(503))
    start = len(service.cloud.calls)
    with pytest.raises(errors.NetworkUnavailable):
        api.create_port(network_id="x")
    outage.append(Reply(drop=True))
    with pytest.raises(errors.NetworkUnavailable):
        api.create_port(network_id="x")
    assert len(service.cloud.calls) == start + 2


def test_a_port_is_changed_only_as_it_was_read(service, api):
    """Where the caller says of which revision it speaks."""
    port = service.port(service.network("p"))
    api.update_port(port["id"], revision=1, device_id="d")
    assert service.cloud.calls[-1].headers["If-Match"] == "revision_number=1"
    with pytest.raises(errors.PortChanged):
        api.update_port(port["id"], revision=1, device_id="e")
    assert port["device_id"] == "d"
    api.update_port(port["id"], device_id="f")
    assert port["device_id"] == "f"


def test_deleting_a_missing_port_is_told_apart(service, api):
    """Nothing to delete is success."""
    port = service.port(service.network("p"))
    assert api.delete_port(port["id"]) is True
    assert api.delete_port(port["id"]) is False


def test_no_router_service_means_no_floating_addresses(service, api):
    """Neutron without L3 answers 404."""
    answer_with(service, Reply(404, {}))
    assert api.floating_ips(port_id="x") == []


def test_bindings_to_two_hosts(service, api):
    """The paths and bodies of Neutron's API; what was done already is told, and no error."""
    port = service.port(service.network("alice"), **{"binding:host_id": "host1"})
    start = len(service.cloud.calls)

    made = api.create_port_binding(port["id"], "host2", vnic_type="normal", profile={"a": 1})
    switched = [api.activate_port_binding(port["id"], "host2") for _ in range(2)]
    with pytest.raises(errors.PortBindingNotFound):
        api.activate_port_binding(port["id"], "host3")
    there = {row["host"]: row["status"] for row in api.port_bindings(port["id"])}
    gone = api.delete_port_binding(port["id"], "host1")

    assert (made["host"], made["status"]) == ("host2", "INACTIVE")
    assert switched == [True, False]
    assert there == {"host1": "INACTIVE", "host2": "ACTIVE"}
    assert gone and not api.delete_port_binding("no-such-port", "host1")
    path = f"/v2.0/ports/{port['id']}/bindings"
    calls = service.cloud.calls[start:]
    assert [(call.method, call.path) for call in calls[:3]] == [
        ("POST", path), ("PUT", f"{path}/host2/activate"), ("PUT", f"{path}/host2/activate"),
    ]  # fmt: skip
    assert calls[0].body == {
        "binding": {"host": "host2", "vnic_type": "normal", "profile": {"a": 1}}
    }
