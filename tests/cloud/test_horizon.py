"""A server's life in Horizon, seen in a real browser."""

import uuid

import pytest

from tests.cloud.support.api import NAME_PREFIX, PLACEMENT_VERSION
from tests.cloud.support.browser import wait_for_screen
from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.horizon import Horizon

pytestmark = [pytest.mark.cloud, pytest.mark.browser, pytest.mark.alone]

TRAIT = "CUSTOM_NLT_HORIZON"
ASKS = "Confirm or Revert Resize/Migrate"


@pytest.fixture(scope="module")
def horizon_is_up(cloud):
    with cloud.brought_up("horizon"):
        yield


@pytest.fixture
def flavor_of_the_host(api, cloud, node, garbage):
    """A flavor for the host under test, as Horizon offers no choice of hosts."""
    traits = f"/resource_providers/{cloud.provider(node)}/traits"

    def change(present):
        """The agent changes its provider, too: whoever comes second reads it again."""
        found = api.placement_get(traits)
        names = {*found["traits"], TRAIT} if present else {*found["traits"]} - {TRAIT}
        return api.placement.request(
            traits, "PUT", json=found | {"traits": sorted(names)}, raise_exc=False,
            microversion=PLACEMENT_VERSION,
        ).ok  # fmt: skip

    api.rest(api.placement, "PUT", f"/traits/{TRAIT}", microversion=PLACEMENT_VERSION)
    garbage.later(lambda: wait_for("host without trait", lambda: change(present=False), 20))
    wait_for("host with trait", lambda: change(present=True), 20)
    flavor = make_flavor(api, garbage, "horizon", 128)
    specs = {"extra_specs": {f"trait:{TRAIT}": "required"}}
    api.call("POST", f"/flavors/{flavor}/os-extra_specs", specs)
    return flavor


def make_flavor(api, garbage, name, ram):
    """A flavor's id.

    :param ram: in MiB
    """
    body = {"name": f"{NAME_PREFIX}.{name}", "ram": ram, "vcpus": 1, "disk": 1}
    flavor = str(api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"])
    garbage.later(lambda: api.call("DELETE", f"/flavors/{flavor}"))
    return flavor


@pytest.mark.usefixtures("horizon_is_up")
def test_a_server_lives_and_dies_in_horizon(api, cloud, node, garbage, flavor_of_the_host, browser):
    """A user launches a server, reads its log, sees its screen, pauses, resumes, deletes it."""
    page, name = Horizon(browser), f"{NAME_PREFIX}-{uuid.uuid4().hex[:8]}"
    page.log_in("demo", cloud.secrets()["DEMO_PASSWORD"])
    image, network = api.image_id("tiny-fast"), api.network_id("private")
    server_id = garbage.server(page.launch(name, image, flavor_of_the_host, network))
    page.wait_row(server_id, "Active")
    assert api.server(server_id)["OS-EXT-SRV-ATTR:host"] == node
    api.wait_console(server_id, "TINY: ready")
    assert "TINY: ready" in page.log_tab(server_id)
    page.console_tab(server_id)
    wait_for_screen(browser)
    page.act(server_id, "pause")
    page.wait_row(server_id, "Paused")
    page.act(server_id, "pause")  # the same button, which now says Resume
    page.wait_row(server_id, "Active")
    page.act(server_id, "delete", confirm=True)
    page.wait_no_row(server_id)
    api.wait_gone(server_id)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("horizon_is_up")
def test_a_server_moves_in_horizon(api, cloud, node, boot, garbage, browser):
    """An administrator has a server resized and confirms it, then migrated, and takes that back."""
    made = boot()
    server = made["id"]
    api.wait_console(server, "TINY: ready")
    larger = make_flavor(api, garbage, "larger", 192)
    page = Horizon(browser)
    page.log_in("admin", cloud.secrets()["ADMIN_PASSWORD"])
    page.use(made["tenant_id"])
    page.resize(server, larger)
    page.wait_row(server, ASKS)
    page.act(server, "confirm")
    page.wait_row(server, "Active")
    found = api.server(server)
    second = found["OS-EXT-SRV-ATTR:host"]
    assert second != node and found["flavor"]["ram"] == 192

    page.watch("admin")
    page.act(server, "migrate", confirm=True)
    page.wait_row(server, ASKS)
    assert api.server(server)["OS-EXT-SRV-ATTR:host"] != second
    page.act(server, "revert")
    page.wait_row(server, "Active")
    assert api.server(server)["OS-EXT-SRV-ATTR:host"] == second


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("horizon_is_up")
def test_a_server_moves_live_in_horizon(api, cloud, moves, node, boot, browser):
    """An administrator has a running server moved, and need not confirm it."""
    server = boot()["id"]
    api.wait_console(server, "TINY: ready")
    page = Horizon(browser)
    page.log_in("admin", cloud.secrets()["ADMIN_PASSWORD"])
    page.watch("admin")

    page.live_migrate(server)

    new = moves.wait_live(server)["dest_compute"]
    assert new != node
    page.list_servers()
    page.wait_row(server, new)
    moves.settled(server, new)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("horizon_is_up")
def test_a_host_is_emptied_in_horizon(api, cloud, moves, node, peer, boot, browser):
    """"Migrate Host" of a disabled host: nobody is left on it."""
    servers = [boot()["id"] for _ in range(3)]
    for server in servers:
        api.wait_console(server, "TINY: ready")
    page = Horizon(browser)
    page.log_in("admin", cloud.secrets()["ADMIN_PASSWORD"])

    with moves.only(peer):
        page.migrate_host(node)
        for server in servers:
            moves.wait_live(server)

    for server in servers:
        moves.settled(server, peer)
    page.watch("admin")
    page.list_servers()
    for server in servers:
        page.wait_row(server, peer)
