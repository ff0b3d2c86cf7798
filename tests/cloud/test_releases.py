"""Nova of another release as control plane, and a control plane that changes its release.

``tests/run --release 2025.1 cloud`` runs this and the core of all other tests on one; the cells of
the support matrix are in ``support/matrix.py``. On the newest release without a wish this is
skipped: the other tests are about it.
"""

from __future__ import annotations

import os

import pytest

from tests.cloud.support.devcloud import LITE, NEWEST_RELEASE, STOCK, wait_for

SERVICE_VERSIONS = {"2025.1": 68, "2025.2": 70, "2026.1": 72, "2026.2": 74}
HOST = "OS-EXT-SRV-ATTR:host"
NOTICED = 200  # seconds; the agent looks every two minutes

pytestmark = [
    pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.alone, pytest.mark.core,
    pytest.mark.timeout(1500),
]  # fmt: skip


@pytest.fixture(autouse=True)
def release(cloud):
    found = cloud.release
    if found == NEWEST_RELEASE and not os.environ.get("NOVA_LITE_TEST_RELEASE"):
        pytest.skip("Nova is of the newest release: tests/run --release runs this on another one")
    return found


def reported(cloud, node):
    """The service version in the database."""
    return int(cloud.sql(
        f"select version from services where host='{node}' and topic='compute' and deleted=0"
    ))  # fmt: skip


def service(api, node):
    (found,) = api.call("GET", f"/os-services?host={node}&binary=nova-compute")["services"]
    return found


def wait_up(api, node):
    """The API answers again, and the host is up."""

    def look():
        answer = api.call("GET", f"/os-services?host={node}&binary=nova-compute", ok=False)
        return answer.ok and answer.json()["services"][0]["state"] == "up"

    wait_for(f"{node} up", look, 120)


def power_cycle(api, server):
    """What only an agent that is spoken to and answers can do."""
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)
    api.wait_console(server, "TINY: booted")


def test_a_host_reports_what_its_control_plane_is(cloud, api, node, release):
    """Neither more, which ``auto`` would not know, nor less, which keeps services from starting."""
    assert reported(cloud, node) == SERVICE_VERSIONS[release]
    providers = api.placement_get(f"/resource_providers?uuid={cloud.provider(node)}")
    assert [provider["name"] for provider in providers["resource_providers"]] == [node]


@pytest.fixture
def restart(cloud, monkeypatch):
    """Starts the control services of Nova anew; in the end without a level."""

    def again(level=""):
        monkeypatch.setenv("UPGRADE_LEVEL", level)
        cloud.run("nova", "restart")

    yield again
    again()


@pytest.mark.parametrize("level", ["auto", ""])
def test_control_services_start_beside_this_host(api, cloud, node, boot, garbage, restart, level):
    """They refuse to with a host that is too old for them, and cannot speak to one that is too new;
    a server that was there is reached as before, and others boot and go."""
    server = boot(key_name="nova-lite")["id"]
    api.wait_console(server, "TINY: booted")

    restart(level)

    wait_up(api, node)
    power_cycle(api, server)
    another = boot()["id"]
    api.delete(another)
    api.wait_gone(another)


def test_stock_there_and_back(api, cloud, node, boot, change_agent):
    """A host with running servers becomes stock nova-compute of this release, and nova_lite again:
    guests run through, and each agent works with what the other has made."""
    servers = [boot(key_name="nova-lite")["id"] for _ in range(2)]
    for server in servers:
        api.wait_console(server, "TINY: booted")
    guests = [cloud.on(node, "virsh", "domid", server) for server in servers]

    change_agent(STOCK)
    wait_up(api, node)
    assert [cloud.on(node, "virsh", "domid", server) for server in servers] == guests
    power_cycle(api, servers[0])
    servers.append(boot(key_name="nova-lite")["id"])

    change_agent(LITE)
    wait_up(api, node)
    assert cloud.on(node, "virsh", "domid", servers[1]) == guests[1]
    for server in servers:
        power_cycle(api, server)
        api.act(server, "reboot", {"type": "HARD"})
        api.wait_status(server, "ACTIVE", 120)


@pytest.fixture
def stock(cloud, node):
    """Another host, with stock nova-compute."""
    with cloud.other_with(node, STOCK) as found:
        yield found


@pytest.fixture
def wanted(release):
    """The release to upgrade to, where one is asked for."""
    found = os.environ.get("NOVA_LITE_TEST_UPGRADE")
    if not found or found == release:
        pytest.skip("NOVA_LITE_TEST_UPGRADE=2026.1 upgrades the cloud to that release")
    return found


def test_an_upgrade_under_running_servers(
    wanted, api, cloud, node, stock, boot, garbage, monkeypatch
):
    """The control plane becomes another release under both kinds of agents, with boots under way:
    nothing is lost, and this host takes over the new version without a restart.

    The cloud has that release afterwards.
    """
    hosts = (node, stock)
    servers = [boot(node=host, key_name="nova-lite")["id"] for host in hosts]
    for server in servers:
        api.wait_console(server, "TINY: booted")
    agent = cloud.agent(node)
    under_way = [api.request_boot(node)["id"] for _ in range(3)]
    for server in under_way:
        garbage.server(server)
        # What nova-conductor had not handed on would be lost with it.
        wait_for(f"{server} on {node}", lambda s=server: api.server(s)[HOST] == node, 60)

    monkeypatch.setenv("NOVA_RELEASE", wanted)
    cloud.run("up", "--no-server", "--upgrade")
    monkeypatch.delenv("NOVA_RELEASE")

    assert cloud.release == wanted
    for host in hosts:
        wait_up(api, host)
    for server in under_way:
        api.wait_status(server, "ACTIVE", 240)
    for server in servers:
        power_cycle(api, server)
    version = SERVICE_VERSIONS[wanted]
    wait_for(f"service version {version}", lambda: reported(cloud, node) == version, NOTICED)
    assert cloud.agent(node) == agent
    assert boot()["status"] == "ACTIVE"
    # Afterwards the agents, one after the other.
    for host in hosts:
        cloud.restart_agent(host)
        wait_up(api, host)
    for server in servers:
        power_cycle(api, server)
