"""What the config drive is made from: the server's records, its request, its ports."""

from __future__ import annotations

import json

import pytest

from nova_lite.configdrive import writer
from tests.unit.operations.host import Host, build_arguments

PASSWORD = "aBc-dEf-42"


class Drives:
    """Stands for the writer: what was to be on each drive, in order, JSON decoded."""

    def __init__(self):
        self.written = []

    def write(self, path, files, **options):
        told = {name: json.loads(body) for name, body in files.items() if name.endswith(".json")}
        self.written.append(told)
        path.write_bytes(b"drive")

    @property
    def ec2(self):
        return self.written[-1]["ec2/latest/meta-data.json"]

    @property
    def metadata(self):
        return self.written[-1]["openstack/latest/meta_data.json"]


@pytest.fixture
def drives(monkeypatch):
    drives = Drives()
    monkeypatch.setattr(writer, "write", drives.write)
    return drives


@pytest.fixture
def host(tmp_path, drives):
    return Host(tmp_path / "host")


def boot(host):
    host.run("build_and_run_instance", **build_arguments(password=PASSWORD))
    assert host.look()["vm_state"] == "active"


def hard_reboot(host, request="req-2"):
    host.set(task_state="rebooting_hard")
    host.run("reboot_instance", request=request, reboot_type="HARD", block_device_info=None)
    assert host.look()["vm_state"] == "active"


def test_a_boot_tells_what_came_to_be_meanwhile(host, drives):
    """The names of its disks and the groups of its ports, which the request does not have."""
    host.set(config_drive="True")
    boot(host)

    assert drives.ec2["block-device-mapping"] == {"ami": "vda", "root": "/dev/vda"}
    assert drives.ec2["security-groups"] == ["default"]
    assert drives.metadata["admin_pass"] == PASSWORD


def test_a_drive_that_is_gone_is_made_again(host, drives):
    """The guest would not start without it; nobody knows the password any more."""
    host.set(config_drive="True")
    boot(host)
    hard_reboot(host)
    assert len(drives.written) == 1  # it was there

    (host.state / "instances" / host.server / "disk.config").unlink()
    hard_reboot(host, "req-3")

    assert len(drives.written) == 2
    assert "admin_pass" not in drives.metadata
    assert host.look()["files"].count("disk.config") == 1


def test_a_drive_is_forced_upon_new_servers_only(host, drives):
    """A server that runs without one goes on without it when the option is set later."""
    host.set(config_drive="")
    boot(host)
    host.conf.set_override("force_config_drive", True)
    hard_reboot(host)

    assert drives.written == []
    assert host.look()["disks"] == ["vda"]
