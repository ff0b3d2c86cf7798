"""An operator who points the agent at a file of nova-compute learns what changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nova_lite import options, service
from nova_lite.cmd import status
from nova_lite.conf import load, unread
from nova_lite.conf.unsupported import Effect
from nova_lite.errors import InvalidConfiguration
from nova_lite.preflight import nova_conf
from nova_lite.preflight.base import Status
from tests.fakes.conf_file import read_conf

REFUSED = [
    ("pci", "device_spec", '{"vendor_id": "8086"}'),
    ("pci", "passthrough_whitelist", '{"vendor_id": "8086"}'),
    ("pci", "alias", '{"name": "gpu"}'),
    ("DEFAULT", "pci_alias", '{"name": "gpu"}'),
    ("devices", "enabled_mdev_types", "nvidia-35"),
    ("devices", "enabled_vgpu_types", "nvidia-35"),
    ("DEFAULT", "vcpu_pin_set", "4-7"),
    ("DEFAULT", "servicegroup_driver", "mc"),
    ("ephemeral_storage_encryption", "enabled", "true"),
    ("libvirt", "pmem_namespaces", "6GB:ns0"),
    ("libvirt", "num_intel_tdx_guests", "8"),
]


@pytest.mark.parametrize(("group", "name", "value"), REFUSED)
def test_what_costs_data_safety_or_capacity_is_refused(tmp_path, group, name, value):
    """The start ends with the option's name, what would be lost, and the remedy."""
    conf = read_conf(tmp_path, {group: {name: value}})

    with pytest.raises(InvalidConfiguration) as caught:
        options.check(conf)
    current = unread.ALIASES.get((group, name), (group, name))
    row = unread.find(*current)
    assert row is not None
    assert f"[{current[0]}]{current[1]} in {tmp_path}/nova.conf is refused" in str(caught.value)
    assert row.means in str(caught.value)
    assert row.remedy in str(caught.value)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("DEFAULT", "servicegroup_driver", "db"),
        ("DEFAULT", "vcpu_pin_set", ""),
        ("ephemeral_storage_encryption", "enabled", "False"),
        ("libvirt", "num_intel_tdx_guests", "0"),
        ("pci", "alias", ""),
        ("libvirt", "inject_partition", "-2"),
        ("DEFAULT", "my_option_of_nobody", "1"),
        ("api", "max_limit", "10"),
        ("database", "connection", "mysql://"),
        ("libvirt", "virt_type", "qemu"),
        ("upgrade_levels", "compute", "auto"),
    ],
)
def test_nothing_is_said_where_nothing_changes(tmp_path, group, name, value):
    """Values that are off, options of other services, and what the agent reads."""
    assert unread.present(read_conf(tmp_path, {group: {name: value}})) == []


def test_an_option_that_is_not_read_is_told_once_and_without_its_value(tmp_path):
    """The last file that has it is named; the value may be a password."""
    first, folder = tmp_path / "nova.conf", tmp_path / "nova.conf.d"
    folder.mkdir()
    first.write_text("[libvirt]\ninject_password = true\n[cyborg]\npassword = s3cret\n")
    (folder / "20.conf").write_text("[libvirt]\ninject-password = yes\n")
    (folder / "notes.txt").write_text("[libvirt]\ninject_key = yes\n")
    conf = load.load(
        ["--config-file", str(first), "--config-dir", str(folder)], "nova-lite-compute"
    )

    found = unread.present(conf)

    assert [(o.option, o.file) for o in found] == [
        ("[libvirt]inject_password", folder / "20.conf"),
        ("[cyborg]password", first),
    ]
    assert "s3cret" not in " ".join(o.message + o.unread.remedy for o in found)


def test_a_later_file_can_switch_it_off(tmp_path):
    """As oslo.config reads them: the last value counts."""
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.write_text("[DEFAULT]\nvcpu_pin_set = 4-7\n")
    second.write_text("[DEFAULT]\nvcpu_pin_set =\n")
    files = ["--config-file", str(first), "--config-file", str(second)]

    assert unread.present(load.load(files, "nova-lite-compute")) == []
    assert unread.present(load.load(files[2:] + files[:2], "nova-lite-compute")) != []


def test_devices_of_all_files_count(tmp_path):
    """oslo.config adds up what may be given several times: an empty value takes nothing away."""
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.write_text("[pci]\ndevice_spec = {}\n")
    second.write_text("[pci]\npassthrough_whitelist =\n")
    files = ["--config-file", str(first), "--config-file", str(second)]

    (found,) = unread.present(load.load(files, "nova-lite-compute"))

    assert (found.option, found.file) == ("[pci]device_spec", first)


def test_the_log_has_a_line_for_each_at_start(tmp_path, caplog):
    """Warnings for what is not done, and no more than information for what does not matter."""
    conf = read_conf(tmp_path, {"DEFAULT": {"tempdir": "/tmp"}, "libvirt": {"inject_key": "true"}})

    with caplog.at_level(logging.INFO, logger="nova_lite.service"):
        service._report_unread(conf)

    assert [(r.levelname, r.getMessage().partition(" in ")[0]) for r in caplog.records] == [
        ("INFO", "[DEFAULT]tempdir"),
        ("WARNING", "[libvirt]inject_key"),
    ]
    assert "use config drives or the metadata service" in caplog.text


def test_the_preflight_has_a_line_for_each(tmp_path, monkeypatch, capsys):
    """nova-lite-status check says before the switch what changes."""
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\ntempdir = /tmp\nvcpu_pin_set = 1-3\n[libvirt]\ninject_key = true\n")
    monkeypatch.setattr(status, "checks", nova_conf.checks)

    assert status.main(["check", "--config-file", str(path)]) == 2

    lines = [line for line in capsys.readouterr().out.splitlines() if "->" not in line]
    assert [line.split()[:2] for line in lines] == [
        ["ok", "[DEFAULT]tempdir"],
        ["FAIL", "[DEFAULT]vcpu_pin_set"],
        ["WARN", "[libvirt]inject_key"],
    ]


def test_the_preflight_says_so_when_there_is_nothing(tmp_path):
    """One line in any case."""
    (check,) = nova_conf.checks(read_conf(tmp_path, {"libvirt": {"virt_type": "qemu"}}))

    assert check.look(None).status is Status.OK


def test_every_effect_has_a_status():
    assert set(nova_conf.STATUS) == set(Effect)


def test_without_arguments_the_files_of_nova_compute_are_read(monkeypatch, tmp_path):
    """Packages of distributions put virt_type into nova-compute.conf."""
    asked = []

    def find(kind: str, result: list[str]):
        def answer(project: str, prog: str, *_: object) -> list[str]:
            asked.append((kind, project, prog))
            return result

        return answer

    ours, theirs, folder = tmp_path / "nova.conf", tmp_path / "nova-compute.conf", tmp_path / "d"
    ours.write_text("[DEFAULT]\nhost = node1\n")
    theirs.write_text("[libvirt]\nvirt_type = qemu\n")
    folder.mkdir()
    (folder / "10.conf").write_text("[libvirt]\nimages_type = raw\n")
    monkeypatch.setattr(load.cfg, "find_config_files", find("files", [str(ours), str(theirs)]))
    monkeypatch.setattr(load.cfg, "find_config_dirs", find("dirs", [str(folder)]))

    conf = load.load([], "nova-lite-compute")

    assert ("files", "nova", "nova-compute") in asked
    assert ("dirs", "nova", "nova-compute") in asked
    assert (conf.libvirt.virt_type, conf.libvirt.images_type) == ("qemu", "raw")
    assert unread.files(conf) == [Path(ours), Path(theirs), folder / "10.conf"]
