"""The driver without a libvirtd: configuration, errors and versions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import libvirt
import pytest
from oslo_config import cfg

from nova_lite.conf import libvirt as libvirt_options
from nova_lite.conf import live_migration
from nova_lite.drivers.hypervisor.libvirt import (
    LibvirtHypervisor,
    connection,
    consoles,
    live_xml,
    sending,
)
from nova_lite.errors import (
    DomainNotFound,
    GuestRefused,
    HypervisorError,
    HypervisorTooOld,
    HypervisorUnavailable,
    InvalidBlockDevice,
    InvalidConfiguration,
    NovaLiteError,
    Verdict,
)
from nova_lite.model.host import ConsoleAddress, GuestDevice


def conf(**options: Any) -> cfg.ConfigOpts:
    made = cfg.ConfigOpts()
    made.register_opts(libvirt_options.OPTS, group=libvirt_options.GROUP)
    made.register_opts(live_migration.OPTS, group=live_migration.GROUP)
    made([])
    for name, value in options.items():
        made.set_override(name, value, group="libvirt")
    return made


class Refusal(libvirt.libvirtError):
    """A libvirt error of any code and origin."""

    def __init__(self, code: int, domain: int = 0, text: str = "refused") -> None:
        Exception.__init__(self, text)
        self.err = (code, domain, text, 2, None, None, None, 0, 0)


def test_the_package_imports_without_libvirt() -> None:
    """Entry points are listed on hosts that have no libvirt-python."""
    code = (
        "import sys; sys.modules['libvirt'] = None\nimport nova_lite.drivers.hypervisor.libvirt\n"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("virt_type", ["lxc", "parallels"])
def test_other_kinds_of_guests_are_refused(virt_type: str) -> None:
    """nova.conf may name them, this agent does not run them."""
    with pytest.raises(InvalidConfiguration, match=virt_type):
        LibvirtHypervisor(conf(virt_type=virt_type))


def test_no_libvirtd_says_where_it_was_looked_for() -> None:
    """The error names the URI and what to check."""
    driver = LibvirtHypervisor(
        conf(connection_uri="qemu+unix:///system?socket=/nonexistent/libvirt-sock")
    )
    try:
        with pytest.raises(HypervisorUnavailable, match=r"/nonexistent.*running\?"):
            driver.connect()
    finally:
        driver.close()


@pytest.mark.parametrize(
    ("libvirt_version", "qemu_version", "named"),
    [(7_010_000, 7_000_000, "libvirt 7.10.0"), (9_000_000, 6_001_000, "QEMU 6.1.0")],
)
def test_old_versions_are_refused(libvirt_version: int, qemu_version: int, named: str) -> None:
    """The message names what is too old, and how new it must be."""
    with pytest.raises(HypervisorTooOld, match=f"{named} is too old; .* or newer"):
        connection.check_versions(libvirt_version, qemu_version)


def test_the_oldest_versions_are_accepted() -> None:
    """8.0.0 and 6.2.0 are good enough."""
    assert connection.check_versions(8_000_000, 6_002_000) is None


@pytest.mark.parametrize(
    ("qemu", "options"),
    [
        (10_000_999, {"live_migration_parallel_connections": 4}),
        (10_000_999, {"live_migration_permit_post_copy": True}),
        (10_001_000, {"live_migration_parallel_connections": 4,
                      "live_migration_permit_post_copy": True}),
    ],
)  # fmt: skip
def test_parallel_connections_or_post_copy(qemu: int, options: dict[str, Any]) -> None:
    """Either goes with any QEMU, both go with one that has them together."""
    assert sending.check_options(conf(**options).libvirt, qemu) is None


def test_parallel_connections_and_post_copy_need_a_new_qemu() -> None:
    """Every migration would fail; the start names both options, as nova-compute's does."""
    options = conf(live_migration_parallel_connections=4, live_migration_permit_post_copy=True)
    with pytest.raises(InvalidConfiguration, match=r"parallel_connections .*QEMU 10\.1\.0, this"):
        sending.check_options(options.libvirt, 10_000_999)


@pytest.mark.parametrize(
    ("code", "origin", "expected"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU, DomainNotFound),
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, HypervisorUnavailable),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, HypervisorUnavailable),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU, HypervisorError),
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_QEMU, GuestRefused),
        (libvirt.VIR_ERR_XML_ERROR, libvirt.VIR_FROM_DOMAIN, HypervisorError),
    ],
)
def test_errors_are_told_apart_by_code_and_origin(
    code: int, origin: int, expected: type[Exception]
) -> None:
    """An internal error of the wire is a lost connection, one of QEMU is QEMU's."""
    assert type(connection.translate("start guest", Refusal(code, origin))) is expected


@pytest.mark.parametrize(
    ("code", "text", "expected", "verdict"),
    [
        (
            libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
            "unsupported configuration: disk device='lun' is not supported for protocol='rbd'",
            InvalidBlockDevice,
            Verdict.ABORT,
        ),
        (
            libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
            "unsupported configuration: IDE controllers are unsupported for this QEMU binary",
            GuestRefused,
            Verdict.RESCHEDULE,
        ),
        (
            libvirt.VIR_ERR_SYSTEM_ERROR,
            "Unable to open '/dev/vhost-vsock' for vsock device: No such device",
            GuestRefused,
            Verdict.RESCHEDULE,
        ),
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            "internal error: process exited while connecting to monitor: qemu-system-x86_64: ...",
            GuestRefused,
            Verdict.RESCHEDULE,
        ),
    ],
    ids=["lun on ceph", "no such device here", "no kernel module", "qemu does not start"],
)
def test_a_refusal_is_expected(
    code: int, text: str, expected: type[NovaLiteError], verdict: Verdict
) -> None:
    """One line in the log, and another host only where that may help."""
    error = connection.translate("start guest", Refusal(code, libvirt.VIR_FROM_QEMU, text))

    assert (type(error), error.expected, error.verdict) == (expected, True, verdict)


@pytest.mark.parametrize(
    ("element", "address"),
    [
        ("<graphics type='vnc' port='5901' listen='10.0.0.1'/>", ConsoleAddress("10.0.0.1", 5901)),
        (
            "<graphics type='vnc' port='5901'><listen type='address' address='::1'/></graphics>",
            ConsoleAddress("::1", 5901),
        ),
        ("<graphics type='vnc' port='-1' autoport='yes'/>", None),
        ("<graphics type='spice' port='5901'/>", None),
    ],
)
def test_console_addresses_are_found(element: str, address: ConsoleAddress | None) -> None:
    """Port -1 is that of a guest that does not run."""
    xml = f"<domain><devices>{element}</devices></domain>"

    assert consoles.graphics(xml, "vnc") == address


def test_a_spice_console_has_a_tls_port() -> None:
    """It may have nothing else."""
    xml = "<domain><devices><graphics type='spice' tlsPort='5902' listen='h'/></devices></domain>"

    assert consoles.graphics(xml, "spice") == ConsoleAddress("h", 0, 5902)


def test_devices_stand_where_libvirt_put_them():
    """PCI addresses as Linux writes them, drives by controller; no address before there is one."""
    xml = """<domain><devices>
      <disk type='file'><target dev='vda' bus='virtio'/>
        <address type='pci' domain='0x0000' bus='0x04' slot='0x1f' function='0x2'/></disk>
      <disk type='file'><target dev='sdb' bus='scsi'/>
        <address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>
      <interface type='ethernet'><mac address='52:54:00:00:00:01'/></interface>
      <video/>
    </devices></domain>"""
    assert live_xml.devices(xml) == [
        GuestDevice("disk", "vda", "pci", "0000:04:1f.2"),
        GuestDevice("disk", "sdb", "scsi", "0:0:0:1"),
        GuestDevice("nic", "52:54:00:00:00:01"),
    ]


def test_devices_that_this_agent_does_not_define_are_found():
    """What nova-compute gives to guests beside, in words for the user; ordinary ones are none."""
    xml = """<domain><devices>
      <disk type='file'><target dev='vda' bus='virtio'/></disk>
      <interface type='ethernet'><mac address='52:54:00:00:00:01'/></interface>
      <hostdev mode='subsystem' type='pci' managed='yes'><source>
        <address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/></source></hostdev>
      <hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>
        <address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>
      <interface type='hostdev'><mac address='52:54:00:00:00:02'/></interface>
      <tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>
      <memory model='nvdimm'/><memory model='dimm'/>
    </devices><launchSecurity type='sev'/></domain>"""

    assert live_xml.foreign_devices(xml) == [
        "PCI device 0000:3b:00.1",
        "mediated device c2177883-f1bb-47f0-914d-32a22e3a8804",
        "hardware NIC 52:54:00:00:00:02",
        "TPM",
        "nvdimm memory",
        "memory encryption",
    ]
    assert "TPM" not in live_xml.foreign_devices(xml, tpm=True)
    plain = "<domain><devices><hostdev type='usb'/><interface type='bridge'/></devices></domain>"
    assert live_xml.foreign_devices(plain) == []
