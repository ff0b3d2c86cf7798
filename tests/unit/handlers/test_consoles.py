"""Tokens and URLs of consoles, and whether they still lead to the guest."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nova_lite import errors
from nova_lite.conductor.records import ConsoleTokens
from nova_lite.handlers.consoles import Consoles, access_url
from nova_lite.model.domain import GraphicsSpec
from nova_lite.wire.objects import WireObject
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor


class Conductor:
    """Gives out tokens; ``saved`` is what each was for."""

    def __init__(self):
        self.saved, self.cleaned = [], 0

    def object_call(self, context, token, method, ttl):
        self.saved.append(dict(token.data))
        return {}, "t0ken"

    def class_call(self, context, method, *arguments):
        self.cleaned += 1


class World:
    """A host with all kinds of consoles and one running guest, ``uuid``."""

    def __init__(self, directory):
        self.hypervisor, self.conductor = FakeHypervisor(), Conductor()
        spec = tiny_guest(
            directory,
            graphics=(GraphicsSpec("vnc", "0.0.0.0"), GraphicsSpec("spice", "0.0.0.0")),
            serial_tcp=("10.0.0.1", (10000, 10001)),
        )
        self.hypervisor.define(spec)
        self.hypervisor.start(spec.uuid)
        self.uuid = spec.uuid
        self.conf = SimpleNamespace(
            vnc=SimpleNamespace(
                enabled=True, server_proxyclient_address="vnc.host", novncproxy_base_url="http://n"
            ),
            spice=SimpleNamespace(
                enabled=True,
                server_proxyclient_address="spice.host",
                html5proxy_base_url="http://s/spice_auto.html",
                spice_direct_proxy_base_url="http://d/nova",
            ),
            serial_console=SimpleNamespace(enabled=True, base_url="ws://q/"),
            consoleauth=SimpleNamespace(token_ttl=600),
        )
        self.consoles = Consoles(
            SimpleNamespace(
                conf=self.conf,
                hypervisor=self.hypervisor,
                console_tokens=ConsoleTokens(self.conductor),
            )
        )

    def get(self, kind, console_type, uuid=None):
        instance = WireObject.new("Instance", "2.8", uuid=uuid or self.uuid)
        return getattr(self.consoles, f"get_{kind}_console")(None, instance, console_type)

    def valid(self, port, console_type):
        instance = WireObject.new("Instance", "2.8", uuid=self.uuid)
        return self.consoles.validate_console_port(None, instance, port, console_type)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize(
    ("kind", "console_type", "host", "port", "url"),
    [
        ("vnc", "novnc", "vnc.host", 5900, "http://n?path=%3Ftoken%3Dt0ken"),
        ("spice", "spice-html5", "spice.host", 5901, "http://s/spice_auto.html?token=t0ken"),
        ("spice", "spice-direct", "spice.host", 5901, "http://d/nova?token=t0ken"),
        ("serial", "serial", "10.0.0.1", 10000, "ws://q/?token=t0ken"),
    ],
)
def test_each_kind_has_its_address_and_url(world, kind, console_type, host, port, url):
    """What the token is stored for is what the caller is told."""
    answer = world.get(kind, console_type)

    assert (answer["host"], answer["port"], answer["access_url"]) == (host, port, url)
    (saved,) = world.conductor.saved
    assert (saved["console_type"], saved["host"], saved["port"]) == (console_type, host, port)
    assert ("tls_port" in saved) == (kind == "spice")
    assert world.valid(str(port), console_type)
    assert not world.valid(str(port + 1), console_type)


def test_what_this_host_does_not_offer(world):
    """Turned off, another hypervisor's, or of another kind: the API answers 400 or 501."""
    for kind in ("vnc", "spice", "serial"):
        with pytest.raises(errors.ConsoleTypeInvalid):
            world.get(kind, "webmks")
    world.conf.spice.enabled = False
    with pytest.raises(errors.ConsoleTypeUnavailable):
        world.get("spice", "spice-html5")
    with pytest.raises(errors.ConsoleTypeUnavailable):
        world.get("mks", "webmks")
    with pytest.raises(NotImplementedError):
        world.get("rdp", "rdp-html5")
    assert not world.valid("5900", "webmks")
    assert not world.conductor.saved


def test_a_guest_that_is_off_or_has_no_such_console(world, tmp_path):
    """409 for the one, 400 for the other that was made before the option was turned on."""
    plain = tiny_guest(tmp_path)
    world.hypervisor.define(plain)
    world.hypervisor.start(plain.uuid)
    for kind, console_type in (("spice", "spice-html5"), ("serial", "serial")):
        with pytest.raises(errors.ConsoleTypeUnavailable):
            world.get(kind, console_type, plain.uuid)

    world.hypervisor.destroy(world.uuid)

    for kind, console_type in (("vnc", "novnc"), ("serial", "serial")):
        with pytest.raises(errors.ServerNotReady):
            world.get(kind, console_type)
    with pytest.raises(errors.ServerNotReady):
        world.get("vnc", "novnc", "nobody")
    assert not world.valid("5900", "novnc")


def test_a_path_of_the_novnc_page_is_kept():
    """noVNC hands its path parameter on to the proxy; a deployment may have one already."""
    url = access_url("novnc", "http://h:6080/vnc_lite.html?path=here", "abc")
    assert url == "http://h:6080/vnc_lite.html?path=here%3Ftoken%3Dabc"


def test_expired_tokens_are_forgotten_only_when_there_may_be_some():
    """Once at the start, for an earlier process; then never while no console is opened."""
    conductor, now = Conductor(), [1000.0]
    tokens = ConsoleTokens(conductor, clock=lambda: now[0])
    tokens.clean_expired(None)
    tokens.clean_expired(None)
    assert conductor.cleaned == 1

    tokens.authorize(None, 600, console_type="novnc")
    tokens.clean_expired(None)
    assert conductor.cleaned == 1, "it is still valid"
    now[0] += 601
    tokens.clean_expired(None)
    tokens.clean_expired(None)
    assert conductor.cleaned == 2


@pytest.mark.parametrize(
    ("made", "passed", "cleaned"),
    [
        (None, 0, 1),  # an earlier process may have made some
        (None, 601, 0),
        (0, 601, 0),
        (500, 200, 1),
        (0, 599, 1),
    ],
)
def test_tokens_of_a_server_are_forgotten_only_where_one_may_be_valid(made, passed, cleaned):
    """Nobody but this host makes any for a server that it has."""
    conductor, now = Conductor(), [1000.0]
    tokens = ConsoleTokens(conductor, clock=lambda: now[0], ttl=600)
    if made is not None:
        now[0] += made
        tokens.authorize(None, 600, console_type="novnc", instance_uuid="server")
    now[0] += passed

    tokens.clean(None, "server")
    assert conductor.cleaned == cleaned

    now[0] += 600
    tokens.clean(None, "server")
    assert conductor.cleaned == cleaned, "nothing is left that is valid"
