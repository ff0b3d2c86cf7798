"""What the firmware of a guest remembers, copied from libvirt's file and to it."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import libvirt
import pytest

from nova_lite import mount_table
from nova_lite.drivers.hypervisor.libvirt import nvram as module
from nova_lite.drivers.hypervisor.libvirt.nvram import Nvram, named
from nova_lite.errors import HypervisorError

UUID = "3b0f1c3e-0000-4000-8000-000000000001"


class Driver(Nvram):
    """A hypervisor with one guest."""

    def __init__(self, definition):
        domain = SimpleNamespace(XMLDesc=lambda flags: definition)
        self._connection = SimpleNamespace(
            call=lambda what, function, timeout: function(
                SimpleNamespace(lookupByUUIDString=lambda uuid: domain)
            )
        )


@pytest.fixture
def paths(tmp_path):
    template, nvram = tmp_path / "VARS.fd", tmp_path / "nvram" / "guest_VARS.fd"
    template.write_bytes(bytes(16))
    return template, nvram


@pytest.fixture
def driver(paths):
    template, nvram = paths
    return Driver(f"<domain><os><nvram template='{template}'>{nvram}</nvram></os></domain>")


def test_it_goes_out_and_comes_in(driver, paths, tmp_path):
    """Each may be repeated."""
    _, nvram = paths
    nvram.parent.mkdir()
    nvram.write_bytes(b"boot order 12345")
    for _ in range(2):
        assert driver.copy_nvram(UUID, tmp_path / "kept")
    nvram.write_bytes(b"another          "[:16])

    for _ in range(2):
        driver.restore_nvram(UUID, tmp_path / "kept")

    assert nvram.read_bytes() == b"boot order 12345"
    assert [path.name for path in nvram.parent.iterdir()] == [nvram.name]


def test_a_host_makes_the_directory_that_it_lacks(driver, paths, tmp_path):
    """No guest with such a firmware has ever been there."""
    (tmp_path / "kept").write_bytes(b"boot order 12345")

    driver.restore_nvram(UUID, tmp_path / "kept")

    assert paths[1].read_bytes() == b"boot order 12345"


def test_another_firmware_begins_anew(driver, paths, tmp_path, caplog):
    """Its variables are of another size: the guest would not boot with these."""
    (tmp_path / "kept").write_bytes(b"short")

    driver.restore_nvram(UUID, tmp_path / "kept")

    assert not paths[1].exists()
    assert UUID in caplog.text


@pytest.fixture
def unnamed(tmp_path, monkeypatch):
    """A guest that libvirt has not started yet, or an old libvirt: it names no files."""
    template = tmp_path / "VARS.fd"
    template.write_bytes(bytes(16))
    firmwares = tmp_path / "firmware"
    firmwares.mkdir()
    (firmwares / "60-uefi.json").write_text(
        json.dumps({"mapping": {"nvram-template": {"filename": str(template)}}})
    )
    (firmwares / "70-bios.json").write_text("{}")
    monkeypatch.setattr(module, "FIRMWARES", (firmwares, tmp_path / "none"))
    monkeypatch.setattr(module, "FILES", tmp_path / "nvram")
    return Driver("<domain><name>instance-1</name><os firmware='efi'/></domain>")


def test_libvirt_need_not_have_chosen_yet(unnamed, tmp_path):
    """The file has the guest's name, there and here."""
    file = tmp_path / "nvram" / "instance-1_VARS.fd"
    (tmp_path / "kept").write_bytes(b"boot order 12345")

    unnamed.restore_nvram(UUID, tmp_path / "kept")

    assert file.read_bytes() == b"boot order 12345"
    assert unnamed.copy_nvram(UUID, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"boot order 12345"


def test_no_firmware_of_this_host_could_read_it(unnamed, tmp_path, caplog):
    """None of them has variables of that size."""
    (tmp_path / "kept").write_bytes(b"short")

    unnamed.restore_nvram(UUID, tmp_path / "kept")

    assert not (tmp_path / "nvram").exists()
    assert UUID in caplog.text


class Hosts(Driver):
    """A hypervisor that knows its guest, or not."""

    def __init__(self, known):
        super().__init__("<domain/>")
        self._known = known

    def _call(self, what, function, timeout=0.0):
        def look(uuid):
            if not self._known:
                raise Gone
            return object()

        return function(SimpleNamespace(lookupByUUIDString=look))


class Gone(libvirt.libvirtError):
    def __init__(self):
        Exception.__init__(self, "no domain")
        self.err = (libvirt.VIR_ERR_NO_DOMAIN, 0, "no domain", 2, None, None, None, 0, 0)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Where libvirt has the variables: on a local disk, unless ``mounted`` changes it."""
    made = tmp_path / "nv ram"
    made.mkdir()
    monkeypatch.setattr(module, "FILES", made)
    monkeypatch.setattr(mount_table, "TABLE", tmp_path / "mounts")
    mounted(made, "ext4")
    return made


def mounted(files, kind):
    point = str(files).replace(" ", "\\040")
    mount_table.TABLE.write_text(
        f"22 1 8:1 / / rw,relatime shared:1 - {'nfs4' if kind == 'ext4' else 'ext4'} /dev/sda rw\n"
        f"30 22 0:50 / {point} rw,relatime shared:9 - {kind} storage:/nvram rw\n"
        f"31 22 0:51 / {point}s rw,relatime shared:9 - proc none rw\n"
    )


@pytest.mark.parametrize("suffix", [".fd", ".qcow2"])
def test_what_a_guest_that_has_left_remembered_goes(files, suffix):
    """Of that guest alone, and as often as anybody wants; a guest that is known keeps it."""
    mine, other = (files / f"{name}_VARS{suffix}" for name in ("instance-1", "instance-12"))
    for path in (mine, other):
        path.touch()

    Hosts(known=True).forget_nvram(UUID, "instance-1")
    assert mine.exists()

    for _ in range(2):
        Hosts(known=False).forget_nvram(UUID, "instance-1")
    assert list(files.iterdir()) == [other]


def test_what_the_other_host_may_use_stays(files, caplog):
    """Operators may have put the directory on storage that all hosts have."""
    caplog.set_level(logging.INFO)
    mounted(files, "nfs4")
    (files / "instance-1_VARS.fd").touch()

    Hosts(known=False).forget_nvram(UUID, "instance-1")

    assert [path.name for path in files.iterdir()] == ["instance-1_VARS.fd"]
    assert "instance-1_VARS.fd stays" in caplog.text


def test_a_file_that_stays_is_named(files):
    """Somebody has made a directory of it."""
    (files / "instance-1_VARS.fd").mkdir()

    with pytest.raises(HypervisorError, match="instance-1_VARS.fd: Is a directory"):
        Hosts(known=False).forget_nvram(UUID, "instance-1")


STATELESS = "<domain><os firmware='efi'><loader stateless='yes'/></os></domain>"


@pytest.mark.parametrize("definition", ["<domain><os/></domain>", "<domain/>", STATELESS])
def test_a_guest_without_such_a_firmware_has_nothing(definition, tmp_path):
    """Nothing is made of it, and nothing comes in."""
    (tmp_path / "kept").write_bytes(b"boot order")

    assert named(definition) == (None, None)
    assert not Driver(definition).copy_nvram(UUID, tmp_path / "out")
    Driver(definition).restore_nvram(UUID, tmp_path / "kept")
    assert not (tmp_path / "out").exists()
