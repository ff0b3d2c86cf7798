"""Volumes by os-brick: what it is asked for, and what is told of its failures."""

from __future__ import annotations

import shutil

import pytest

from nova_lite.drivers.volume import block
from nova_lite.errors import VolumeAttachFailed, VolumeDetachFailed, VolumeExtendFailed
from nova_lite.model.volume import Connection
from tests.fakes.conf_file import read_conf
from tests.fakes.os_brick_connector import SIZE, FakeConnector, refused_login

OPTIONS = {
    "volume_use_multipath": "true",
    "iser_use_multipath": "true",
    "num_volume_scan_tries": "3",
    "num_iser_scan_tries": "4",
    "num_nvme_discover_tries": "6",
}
DATA = {"target_iqn": "iqn", "target_lun": 1, "auth_password": "chap", "nested": {"token": "tk"}}


def conf(tmp_path, **libvirt):
    options = {"DEFAULT": {"state_path": str(tmp_path)}, "libvirt": libvirt}
    return read_conf(tmp_path, options)


@pytest.fixture
def driver(tmp_path):
    made = block.IscsiVolumes(conf(tmp_path))
    made._connector = FakeConnector(tmp_path)
    return made


def volume(**more) -> Connection:
    return Connection("iscsi", "vol1", {**DATA, **more})


MULTIPATH = {"use_multipath": True, "enforce_multipath": False}


@pytest.mark.parametrize(
    ("kind", "connector", "options", "io"),
    [
        (
            "Iscsi",
            "ISCSI",
            {**MULTIPATH, "device_scan_attempts": 3, "transport": "default"},
            "native",
        ),
        ("Iser", "ISCSI", {**MULTIPATH, "device_scan_attempts": 4, "transport": "iser"}, "native"),
        ("FibreChannel", "FibreChannel", {**MULTIPATH, "device_scan_attempts": 3}, "native"),
        ("NvmeOf", "NVMeOF", {**MULTIPATH, "device_scan_attempts": 6}, None),
        ("LightOs", "LightOS", {"device_scan_attempts": 6}, None),
        ("ScaleIo", "ScaleIO", {"device_scan_attempts": 3}, "native"),
    ],
)
def test_nova_confs_options_reach_os_brick(tmp_path, kind, connector, options, io):
    """os-brick itself makes the connector; the names and defaults are nova-compute's."""
    driver = getattr(block, f"{kind}Volumes")(conf(tmp_path, **OPTIONS))

    assert driver.options() == options
    assert type(driver._brick()).__name__ == f"{connector}Connector"
    source = driver.source(Connection("any", "vol1", {"device_path": "/dev/sdb"}))
    assert (source.path, source.type, source.format, source.io) == ("/dev/sdb", "block", "raw", io)


def test_iscsi_goes_through_the_interface_of_nova_conf(tmp_path):
    """[libvirt]iscsi_iface; without iscsiadm on this host the message says what is missing."""
    driver = block.IscsiVolumes(conf(tmp_path, iscsi_iface="hw"))
    assert driver.options()["transport"] == "hw"

    if not shutil.which("iscsiadm"):
        with pytest.raises(VolumeAttachFailed, match="No such file or directory: 'iscsiadm'$"):
            driver.connect(volume(), "server")


def test_the_device_is_kept_with_its_multipath_name(tmp_path, driver):
    """Both are asked for when the volume is disconnected, maybe by nova-compute."""
    connector = driver._connector
    connector.connect_volume = lambda data: {"path": b"/dev/dm-1", "multipath_id": "3600"}

    kept = driver.connect(volume(), "server")

    assert kept == {**DATA, "device_path": "/dev/dm-1", "multipath_id": "3600"}


def test_a_failure_tells_what_the_program_said_and_no_secret(driver):
    """Its command line has the CHAP password, and it may print it."""
    driver._connector.failure = refused_login("chap")

    with pytest.raises(VolumeAttachFailed) as raised:
        driver.connect(volume(), "server")

    said = raised.value.message
    assert said == (
        "Volume vol1 could not be attached. "
        "Reason: iscsi: exit status 24: iscsiadm: cannot log in with ***"
    )
    assert raised.value.__suppress_context__


def test_data_that_cannot_be_written_keeps_the_volume(driver):
    """os-brick could not flush the device: the detachment fails, unless the server goes."""
    kept = volume(**driver.connect(volume(), "server"))
    driver._connector.failure = OSError("flush failed, token tk")

    with pytest.raises(VolumeDetachFailed, match=r"flush failed, token \*\*\*$"):
        driver.disconnect(kept, "server")

    driver._connector.failure = None
    driver.disconnect(kept, "server", force=True)
    assert driver._connector.calls[-1] == "disconnect, by force"


def test_a_volume_of_one_server_never_waits_for_another(driver):
    """What a former agent has noted of a server long gone keeps no device of a volume."""
    driver._users.add("vol1", "a server long gone")
    driver.connect(volume(), "server")

    driver.disconnect(volume(), "server")

    assert driver._connector.calls == ["connect", "disconnect"]


def test_os_brick_says_how_large_a_volume_is(driver):
    """It may be less than Cinder says."""
    assert driver.extend(volume(device_path="/dev/sdb"), SIZE + 1) == SIZE
    driver._connector.failure = RuntimeError("rescan failed")
    with pytest.raises(VolumeExtendFailed, match="vol1.*rescan failed"):
        driver.extend(volume(device_path="/dev/sdb"), SIZE)


def test_how_this_host_reached_a_volume_is_kept_without_its_secrets(tmp_path, driver):
    """Another host has connected the volume since, in its own way; also a new agent knows ours."""
    driver.connect(volume(), "server")
    theirs = volume(target_lun=7, auth_password="theirs")

    for agent in (driver, block.IscsiVolumes(conf(tmp_path))):
        own = agent.on_this_host(theirs, "server")

        assert own.data["device_path"] == driver.connect(volume(), "server")["device_path"]
        assert (own.data["target_lun"], own.data["auth_password"]) == (1, "theirs")
    (kept,) = [path.read_text() for path in tmp_path.rglob("vol1/server")]
    assert "target_lun" in kept
    assert "chap" not in kept
    assert "tk" not in kept


def test_what_another_agent_connected_is_taken_as_the_records_have_it(driver):
    """A stock agent keeps nothing of it."""
    assert driver.on_this_host(volume(target_lun=7), "server").data["target_lun"] == 7
