"""Graphics, pointers, serial ports and redirected USB ports."""

from dataclasses import replace

import pytest

from nova_lite import errors
from nova_lite.conf import register_opts
from nova_lite.drivers.hypervisor.libvirt.domain_xml import render
from nova_lite.guest import consoles
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.model.domain import GraphicsSpec
from tests.fakes.servers import QEMU, a_guest, a_server

SPICE = replace(QEMU, spice=GraphicsSpec("spice", "10.0.0.1"), vnc_listen=None)
BOTH = replace(SPICE, vnc_listen="127.0.0.1")
SERIAL = replace(QEMU, serial_host="10.0.0.1")


def wanted(policy, image=None, specs=None):
    return consoles.serial_ports(Properties(a_server(image, specs)), policy)


def test_spice_stands_beside_vnc():
    """Either, both or none; with none there is no screen."""
    assert [g.kind for g in a_guest(a_server(), policy=BOTH).graphics] == ["vnc", "spice"]
    assert [g.kind for g in a_guest(a_server(), policy=SPICE).graphics] == ["spice"]
    assert a_guest(a_server(), policy=SPICE).video_model == "virtio"
    assert a_guest(a_server(), policy=replace(QEMU, vnc_listen=None)).video_model is None


def test_the_spice_agent_replaces_the_tablet_unless_vnc_needs_it():
    """VNC has no mouse of its own."""
    mute = replace(SPICE, spice=GraphicsSpec("spice", "10.0.0.1", agent=False))

    assert a_guest(a_server(), policy=SPICE).input_devices == ()
    assert a_guest(a_server(), policy=BOTH).input_devices == (("tablet", "usb"),)
    assert a_guest(a_server(), policy=mute).input_devices == (("tablet", "usb"),)


def test_usb_redirection_needs_spice():
    """Only SPICE clients redirect; another host may have it."""
    server = a_server({"hw_redirected_usb_ports": 2, "hw_usb_model": "nec-xhci"})

    assert a_guest(server, policy=SPICE).usb_redirections == 2
    with pytest.raises(errors.UnsupportedByHost, match=r"\[spice\]enabled"):
        a_guest(server)
    with pytest.raises(errors.InvalidGuestConfig, match="hw:usb_model"):
        a_guest(a_server({"hw_redirected_usb_ports": 2}), policy=SPICE)


@pytest.mark.parametrize(
    ("image", "specs", "count"),
    [(None, None, 1), ({"hw_serial_port_count": "2"}, {"hw:serial_port_count": "3"}, 2),
     (None, {"hw:serial_port_count": "3"}, 3), ({"hw_serial_port_count": "2"}, None, 2)],
)  # fmt: skip
def test_number_of_serial_ports(image, specs, count):
    """One unless flavor or image ask for more; none where users cannot reach them."""
    assert wanted(SERIAL, image, specs) == count
    assert wanted(QEMU, image, specs) == 0


def test_too_many_serial_ports_are_refused():
    """More than the flavor gives, or than QEMU has."""
    with pytest.raises(errors.InvalidGuestConfig, match="more than the flavor"):
        wanted(SERIAL, {"hw_serial_port_count": "3"}, {"hw:serial_port_count": "2"})
    with pytest.raises(errors.InvalidGuestConfig, match="at most 3"):
        wanted(SERIAL, {}, {"hw:serial_port_count": "4"})


def test_options_reach_the_definition(conf):
    """[spice] and [serial_console] of nova.conf, as libvirt spells them."""
    options = {"enabled": True, "require_secure": True, "image_compression": "glz",
               "playback_compression": False, "streaming_mode": "all"}  # fmt: skip
    for name, value in options.items():
        conf.set_override(name, value, group="spice")
    conf.set_override("enabled", True, group="serial_console")
    policy = HostPolicy.from_conf(conf)

    xml = render(a_guest(a_server(), policy=policy, serial_ports=(10001, 10007)))

    for part in ('<image compression="glz" />', '<playback compression="off" />',
                 '<streaming mode="all" />', '<channel name="inputs" mode="secure" />',
                 'name="com.redhat.spice.0"', 'host="127.0.0.1" service="10001"',
                 'service="10007"'):  # fmt: skip
        assert part in xml
    assert xml.count("<log file=") == 1


@pytest.fixture
def conf():
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    register_opts(conf)
    conf([], project="nova", default_config_files=[])
    return conf
