"""What Open vSwitch is asked directly: whether it lives, and whose ports it has."""

from __future__ import annotations

import time

import pytest

from nova_lite.drivers.vif import ovsdb
from nova_lite.drivers.vif.drivers import VifDrivers
from nova_lite.drivers.vif.ovsdb import Ovsdb, OvsPort
from nova_lite.errors import SwitchUnavailable
from tests.fakes.conf_file import read_conf
from tests.fakes.entry_points import declared
from tests.fakes.ovsdb import FakeOvs
from tests.fakes.ports import PORT, SERVER, VIF

OTHER = "99999999-8b78-4274-82e5-3b20fc53d2c9"
MAC = "fa:16:3e:ce:a2:fc"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(ovsdb, "ANSWER_S", 0.3)


@pytest.fixture(params=[False, True], ids=["no control socket", "control socket"])
def ovs(request, tmp_path):
    switch = FakeOvs(tmp_path, control=request.param)
    switch.bridge("br-int")
    yield switch
    switch.close()


def test_a_switch_that_lives_answers_at_once(ovs):
    """Its control socket is enough; without one it is given a configuration number."""
    Ovsdb(ovs.where).check()

    assert ("version" in ovs.asked) is not ("mutate Open_vSwitch" in ovs.asked)


@pytest.mark.parametrize("left", ["nothing", "a socket file"])
def test_a_dead_vswitchd_is_found_out_in_seconds(tmp_path, left):
    """Whether it was stopped or killed, which leaves the file of its control socket."""
    ovs = FakeOvs(tmp_path)
    ovs.obeys = False
    if left != "nothing":
        (tmp_path / "ovs-vswitchd.41.ctl").touch()
    began = time.monotonic()

    with pytest.raises(SwitchUnavailable, match="ovs-vswitchd does not answer"):
        Ovsdb(ovs.where).check()

    assert time.monotonic() - began < 3
    ovs.close()


@pytest.mark.parametrize("where", ["unix:/nowhere/db.sock", "tcp:127.0.0.1:1"])
def test_a_database_that_is_away_is_named(where):
    """With the address that nova.conf has."""
    switch = Ovsdb(where)
    for ask in (switch.check, switch.ports, switch.bridges):
        with pytest.raises(SwitchUnavailable, match=where):
            ask()


def test_a_refusal_is_no_answer(ovs):
    """A transaction that failed has rows for none of its parts."""
    ovs.said = b'{"id": 0, "error": null, "result": [{"error": "syntax error"}, null, null]}'
    with pytest.raises(SwitchUnavailable, match="syntax error"):
        Ovsdb(ovs.where).ports()


def make_ports(ovs):
    ids = {"iface_status": "active", "attached_mac": MAC, "vm_uuid": SERVER["server_uuid"]}
    ovs.bridge("br-ex")
    ovs.port("br-int", VIF.devname, iface_id=PORT, **ids)
    ovs.port("br-int", "qvo99999999-8b", iface_id=OTHER, **{**ids, "vm_uuid": "other"})
    ovs.port("br-int", "enp1s0f0_1", iface_id=OTHER, **ids)
    ovs.port("br-ex", "eth1")
    ovs.port("br-int", "patch-br-ex", iface_id="provnet")


def test_ports_tell_whose_they_are(ovs):
    """Those of nobody, and of Neutron itself, are not among them."""
    make_ports(ovs)
    switch = Ovsdb(ovs.where)
    mine = OvsPort(VIF.devname, "br-int", SERVER["server_uuid"], PORT, MAC)

    assert mine in switch.ports()
    assert {port.name for port in switch.ports()} == {VIF.devname, "qvo99999999-8b", "enp1s0f0_1"}
    assert [port.name for port in switch.ports("other")] == ["qvo99999999-8b"]
    assert switch.ports("nobody") == []


def driver_of(tmp_path, where):
    conf = read_conf(tmp_path, {"os_vif_ovs": {"ovsdb_connection": where}})
    return VifDrivers(conf, declared("nova_lite.vif"))


def test_what_is_plugged_can_be_unplugged(ovs, tmp_path):
    """A tap, a veth pair; a piece of hardware is not ours to take."""
    make_ports(ovs)

    found = driver_of(tmp_path, ovs.where).plugged_vifs()

    (tap,), (veth,) = found[SERVER["server_uuid"]], found["other"]
    assert (tap.id, tap.devname, tap.network.bridge, tap.mac) == (PORT, VIF.devname, "br-int", MAC)
    assert (tap.vif_type, veth.vif_type) == ("ovs", "ovs")
    assert (veth.id, veth.details) == (OTHER, {"ovs_hybrid_plug": True})


@pytest.mark.parametrize("verb", ["plug", "unplug"])
def test_os_vif_is_not_asked_to_wait_for_a_dead_switch(tmp_path, verb):
    """It would wait for minutes, and log a traceback; the port is named."""
    driver = driver_of(tmp_path, "unix:/nowhere/db.sock")

    with pytest.raises(SwitchUnavailable, match=f"port {PORT}.*/nowhere/db.sock"):
        getattr(driver, verb)(VIF, **SERVER)

    assert driver.uses_switch


def test_a_connection_that_only_os_vif_can_make_is_left_to_it(tmp_path):
    """With TLS nothing is known beforehand."""
    driver = driver_of(tmp_path, "ssl:127.0.0.1:6640")

    driver.check()

    assert driver.plugged_vifs() == {}
    assert not driver.uses_switch
