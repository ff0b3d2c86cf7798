"""Storage that takes a connection and then says nothing, with a real guest."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from nova_lite.drivers.hypervisor.libvirt import disks
from nova_lite.errors import DeviceDetachFailed, HypervisorUnavailable
from nova_lite.model.domain import DiskSpec
from nova_lite.model.volume import NetworkSource
from tests.contract.hypervisor.test_hypervisor_contract import real_hypervisor
from tests.fakes.guests import tiny_guest

pytestmark = [pytest.mark.libvirt]

PORT = 10811
SILENT = f"""
import socket, time
server = socket.create_server(("127.0.0.1", {PORT}))
print("listening", flush=True)
time.sleep(600)
"""


def test_a_disk_that_may_still_come_is_not_gone(
    private_libvirtd, libvirt_uri, tmp_path, monkeypatch
):
    """Else its volume were given back, and then two guests would write to it."""
    monkeypatch.setattr(disks, "ATTACH_TIMEOUT", 2.0)
    hypervisor = real_hypervisor(libvirt_uri)
    hypervisor.connect()
    guest = tiny_guest(tmp_path)
    hypervisor.define(guest)
    hypervisor.start(guest.uuid)
    silent = subprocess.Popen(
        [*private_libvirtd.enter(), sys.executable, "-c", SILENT], stdout=subprocess.PIPE
    )
    assert silent.stdout is not None
    silent.stdout.readline()
    network = NetworkSource("nbd", hosts=(("127.0.0.1", str(PORT)),))
    disk = DiskSpec("vdb", "virtio", "x", source_type="network", network=network, serial="vol1")
    try:
        with pytest.raises(HypervisorUnavailable):
            hypervisor.attach_disk(guest.uuid, disk)

        with pytest.raises(DeviceDetachFailed, match="still busy with an earlier request"):
            hypervisor.detach_disk(guest.uuid, "vol1")
    finally:
        # Seen from inside: the program has a PID of that namespace, and nobody else listens there.
        private_libvirtd.run(
            "sh", "-c", f"kill $(ss -tlnpH sport = :{PORT} | grep -oP 'pid=\\K\\d+')"
        )
        silent.wait(timeout=20)

    # The storage has given up: nothing is under way any more, and the disk never came.
    deadline = time.monotonic() + 60
    while True:
        try:
            hypervisor.detach_disk(guest.uuid, "vol1")
            break
        except DeviceDetachFailed:
            assert time.monotonic() < deadline
    hypervisor.destroy(guest.uuid)
    hypervisor.undefine(guest.uuid)
    hypervisor.close()
