"""Consoles: the text log and noVNC through the stock proxy."""

import pytest

from tests.cloud.support.devcloud import CloudError
from tests.cloud.support.vnc import ProxyRefused, first_bytes, with_token

pytestmark = pytest.mark.cloud


def vnc_url(api, server):
    body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    console = api.call("POST", f"/servers/{server}/remote-consoles", body)["remote_console"]
    assert console["type"] == "novnc"
    return console["url"]


@pytest.mark.core
def test_console_log(api, server):
    """The whole log, and its end by a number of lines."""
    assert "TINY: booted" in api.cli("console", "log", "show", server["id"])
    whole = api.console(server["id"])
    last = api.cli("console", "log", "show", "--lines", "3", server["id"])
    assert 1 <= len(last.strip().splitlines()) <= 3
    assert last.strip().splitlines()[0] in whole


@pytest.mark.core
def test_vnc_through_the_proxy(api, server):
    """The URL of ``openstack console url show`` leads through the stock proxy to the guest."""
    shown = api.cli("console", "url", "show", "--novnc", server["id"], parse=True)
    assert first_bytes(shown["url"], 12).startswith(b"RFB 003.008")


def test_a_wrong_token_is_refused(api, server):
    """Nobody gets a console with a token that was not given out."""
    url = with_token(vnc_url(api, server["id"]), "00000000-0000-4000-8000-000000000000")
    with pytest.raises(ProxyRefused):
        first_bytes(url, 12)


def test_a_token_does_not_outlive_its_port(api, boot, node):
    """After the server is gone its token opens nothing."""
    server = boot()["id"]
    url = vnc_url(api, server)
    assert first_bytes(url, 12)
    api.delete(server)
    api.wait_gone(server)
    with pytest.raises(ProxyRefused):
        first_bytes(url, 12)


@pytest.mark.parametrize("console", ["--spice", "--serial", "--mks"])
def test_a_console_that_is_not_offered(api, server, console):
    """Asking for another kind of console gives a plain answer, not an internal error."""
    with pytest.raises(CloudError) as refused:
        api.cli("console", "url", "show", console, server["id"])
    assert any(code in str(refused.value) for code in ("400", "501", "Unavailable", "not"))
    assert "HTTP 500" not in str(refused.value)


def test_console_of_a_stopped_server(api, boot):
    """A stopped server has no screen: a refusal, or a URL that leads nowhere; no internal error."""
    server = boot()["id"]
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF")
    body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    response = api.call("POST", f"/servers/{server}/remote-consoles", body, ok=False)
    assert response.status_code in (200, 404, 409), response.text
    if response.ok:
        with pytest.raises(ProxyRefused):
            first_bytes(response.json()["remote_console"]["url"], 12)
