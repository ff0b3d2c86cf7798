"""Ports with bindings to two hosts: one is active, and that is switched once."""

from __future__ import annotations

import pytest

from nova_lite.clients.neutron import Neutron
from nova_lite.clients.neutron_bindings import PortBindings
from nova_lite.clients.session import Sessions
from nova_lite.errors import NetworkUnavailable, PortNotFound
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import HttpCloud
from tests.fakes.neutron import FakeNeutron, error


@pytest.fixture
def service():
    cloud = HttpCloud()
    yield FakeNeutron(cloud)
    cloud.close()


@pytest.fixture
def bindings(service, tmp_path):
    options = {
        **service.cloud.credentials("neutron"),
        "connect_retry_delay": "0.01",
        "status_code_retry_delay": "0.01",
    }
    return PortBindings(Neutron(Sessions(read_conf(tmp_path, {"neutron": options}))))


@pytest.fixture
def ports(service):
    network = service.network("project")
    service.subnet(network)
    return [service.port(network, **{"binding:host_id": "host1"})["id"] for _ in range(3)]


def hosts(bindings, port):
    return {host: found.active for host, found in bindings.of(None, port).items()}


def test_a_binding_is_made_beside_the_active_one(service, bindings, ports):
    """Made twice it is one; its details are the other host's."""
    made = bindings.make(None, ports[0], "host2", profile={"a": 1})
    again = bindings.make(None, ports[0], "host2")

    assert made == again
    assert (made.host, made.active, made.vif_type) == ("host2", False, "ovs")
    assert hosts(bindings, ports[0]) == {"host1": True, "host2": False}


def test_ports_are_switched_once(service, bindings, ports):
    """Whoever asks again has success; a port without a binding there is left as it is."""
    for port in ports[:2]:
        bindings.make(None, port, "host2")

    assert bindings.activate(None, ports, "host2") == set(ports[:2])
    assert bindings.activate(None, [*ports, "gone"], "host2") == set(ports[:2])
    assert hosts(bindings, ports[0]) == {"host2": True, "host1": False}
    assert hosts(bindings, ports[2]) == {"host1": True}


def test_a_switch_that_is_not_known_to_be_made_is_told(service, bindings, ports):
    """The caller repeats it."""
    bindings.make(None, ports[0], "host2")
    service.before.append(
        lambda call: error(503, "busy") if call.path.endswith("activate") else None
    )
    with pytest.raises(NetworkUnavailable):
        bindings.activate(None, ports[:2], "host2")


def test_the_active_binding_is_never_dropped(service, bindings, ports):
    """The port would be nobody's."""
    bindings.make(None, ports[0], "host2")
    assert bindings.drop(None, ports[:1], "host1") == set()
    assert bindings.drop(None, ports[:1], "host2") == set(ports[:1])
    assert bindings.drop(None, [*ports, "gone"], "host2") == {*ports, "gone"}
    assert hosts(bindings, ports[0]) == {"host1": True}


def test_a_port_that_is_gone(service, bindings):
    """It has none, and gets none."""
    assert bindings.of(None, "gone") == {}
    with pytest.raises(PortNotFound):
        bindings.make(None, "gone", "host2")
