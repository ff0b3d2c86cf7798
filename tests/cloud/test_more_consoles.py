"""SPICE and serial consoles through the stock proxies, on a host where they are turned on."""

import xml.etree.ElementTree as ET

import pytest

from tests.cloud.support.api import NAME_PREFIX
from tests.cloud.support.vnc import SPICE_HELLO, ProxyRefused, first_bytes, typed, with_token

pytestmark = pytest.mark.cloud

OPTIONS = "[spice]\nenabled = true\n[serial_console]\nenabled = true"
NOBODY = "00000000-0000-4000-8000-000000000000"
KINDS = {"spice-html5": "spice", "serial": "serial", "novnc": "vnc"}
HELLO = {"spice-html5": SPICE_HELLO, "novnc": b""}
SAYS = {"spice-html5": b"REDQ", "novnc": b"RFB "}


@pytest.fixture(scope="module")
def more_consoles(cloud, node):
    with cloud.options(node, OPTIONS):
        yield


@pytest.fixture(scope="module")
def flavor(api, module_garbage):
    """Two serial ports."""
    body = {"name": f"{NAME_PREFIX}.serial", "ram": 128, "vcpus": 1, "disk": 1}
    flavor = api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"]
    module_garbage.later(lambda: api.call("DELETE", f"/flavors/{flavor}", ok=False))
    specs = {"extra_specs": {"hw:serial_port_count": "2"}}
    api.call("POST", f"/flavors/{flavor}/os-extra_specs", specs)
    return flavor


@pytest.fixture(scope="module")
def talker(api, node, more_consoles, flavor, module_garbage):
    """A running server with every kind of console."""
    requested = api.request_boot(node, flavor=flavor)
    module_garbage.server(requested["id"])
    api.wait_status(requested["id"], "ACTIVE", 180)
    api.wait_console(requested["id"], "TINY: ready")
    return requested["id"]


def ask(api, server, console):
    body = {"remote_console": {"protocol": KINDS[console], "type": console}}
    return api.call("POST", f"/servers/{server}/remote-consoles", body, ok=False)


def url_of(api, server, console):
    response = ask(api, server, console)
    assert response.ok, response.text
    return response.json()["remote_console"]["url"]


def serial_ports(cloud, node, server):
    root = ET.fromstring(cloud.on(node, "virsh", "dumpxml", "--inactive", server))
    return [source.get("service") for source in root.findall("devices/serial/source")]


@pytest.mark.parametrize("console", HELLO)
def test_the_guest_answers_through_the_proxy(api, talker, console):
    """VNC greets, SPICE answers a link message; both screens are there at the same time."""
    url = url_of(api, talker, console)
    assert first_bytes(url, 4, HELLO[console]) == SAYS[console]
    with pytest.raises(ProxyRefused):
        first_bytes(with_token(url, NOBODY), 4, HELLO[console])


def test_typing_on_the_serial_console(api, talker):
    """A login prompt comes, what is typed is echoed, and the console log has it all."""
    url = url_of(api, talker, "serial")
    typed(url, b"\n", b"login:")
    assert b"somebody" in typed(url, b"somebody\n", b"Password:")
    assert "login: somebody" in api.wait_console(talker, "login: somebody")
    assert "TINY: booted" in api.console(talker)
    with pytest.raises(ProxyRefused):
        typed(with_token(url, NOBODY), b"\n", b"login:", 5)


def test_native_spice_clients(api, cloud, talker):
    """``spice-direct`` tells an operator's proxy where to go; there is no page for it."""
    body = {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
    path = f"/servers/{talker}/remote-consoles"
    console = api.rest(api.compute, "POST", path, body, microversion="2.99")["remote_console"]
    token = console["url"].split("token=")[1]
    path = f"/os-console-auth-tokens/{token}"
    found = api.rest(api.compute, "GET", path, microversion="2.99")["console"]
    assert found["instance_uuid"] == talker
    assert 5900 <= found["port"] < 6000
    assert found["tls_port"] is None


def test_length_of_the_console_output(api, talker):
    """As many lines as asked for, or all there are; -1 leaves out the first, as with stock."""
    whole = api.console(talker).splitlines()
    for length, lines in ((0, 0), (1, 1), (4, 4), (100_000, len(whole)), (-1, len(whole) - 1)):
        arguments = {"os-getConsoleOutput": {"length": length}}
        answer = api.call("POST", f"/servers/{talker}/action", arguments)["output"]
        assert len(answer.splitlines()) <= lines
        assert answer or length in (0, 1)


@pytest.mark.browser
def test_the_spice_page_shows_a_screen(api, talker, browser):
    """The page behind ``console url show --spice`` connects and makes room for a screen."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(url_of(api, talker, "spice-html5"))
    WebDriverWait(browser, 40).until(lambda page: page.execute_script(
        "let c = document.querySelector('#spice-screen canvas'); return c && c.width > 300"
    ))  # fmt: skip


def test_ports_outlive_kill_and_power_off(api, cloud, node, talker):
    """The agent is killed, the server stopped and started: same ports, old tokens work again."""
    ports = serial_ports(cloud, node, talker)
    assert len(set(ports)) == 2
    url = url_of(api, talker, "serial")
    cloud.agent(node).kill()
    cloud.restart_agent(node)

    api.act(talker, "os-stop")
    api.wait_status(talker, "SHUTOFF")
    for console in KINDS:
        assert ask(api, talker, console).status_code == 409
    with pytest.raises(ProxyRefused):
        typed(url, b"\n", b"login:", 5)
    assert "TINY: booted" in api.console(talker), "a stopped server tells how it ended"

    api.act(talker, "os-start")
    api.wait_status(talker, "ACTIVE")
    assert serial_ports(cloud, node, talker) == ports
    typed(url, b"\n", b"TINY: ")


def test_a_second_server_has_ports_of_its_own(api, cloud, node, talker, boot, flavor):
    """And its tokens end with it."""
    other = boot(flavor=flavor)["id"]
    assert not set(serial_ports(cloud, node, other)) & set(serial_ports(cloud, node, talker))
    url = url_of(api, other, "spice-html5")
    assert first_bytes(url, 4, SPICE_HELLO) == b"REDQ"
    api.delete(other)
    api.wait_gone(other)
    with pytest.raises(ProxyRefused):
        first_bytes(url, 4, SPICE_HELLO)
