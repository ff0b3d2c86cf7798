from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.errors import InvalidConfiguration
from nova_lite.preflight import hypervisor, kvm_probe
from nova_lite.preflight.base import Finding, Status
from nova_lite.preflight.kvm_probe import Outcome, Probe

HUNG = Probe(Outcome.HUNG, 10.0)
FINE = Probe(Outcome.FINISHED, 0.3)


def env(virt_type: str, **facts: Any) -> Any:
    given = {
        "arch": "x86_64",
        "hypervisor_type": "QEMU",
        "hypervisor_version": 7002022,
        "guests": (("x86_64", "qemu", "hvm"), ("i686", "kvm", "hvm")),
        **facts,
    }
    driver = SimpleNamespace(facts=lambda: SimpleNamespace(**given))
    conf = SimpleNamespace(libvirt=SimpleNamespace(virt_type=virt_type, swtpm_enabled=False))
    return SimpleNamespace(conf=conf, hypervisor=driver)


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A host with /dev/kvm on which a guest ends as told."""

    def look(virt_type: str, probe: Probe, *, device: bool = True) -> Finding:
        path = tmp_path / "kvm"
        path.touch() if device else path.unlink(missing_ok=True)
        monkeypatch.setattr(hypervisor, "KVM_DEVICE", path)
        outcomes = {"kvm": probe, "tcg": FINE}
        monkeypatch.setattr(kvm_probe, "run", lambda accelerator: outcomes[accelerator])
        return hypervisor.KVM.look(env(virt_type))

    return look


def test_kvm_that_hangs_guests_is_found(kvm: Any) -> None:
    """A failure with the way out if guests are to use it, only a remark if not."""
    found = kvm("kvm", HUNG)

    assert found.status is Status.FAILURE
    assert "did not finish in 10 s (emulated: 0.3 s)" in found.message
    assert "virt_type = qemu" in found.remedy

    found = kvm("qemu", HUNG)
    assert found.status is Status.OK
    assert "did not finish" in found.message


@pytest.mark.parametrize(
    ("probe", "device", "says"),
    [
        (FINE, False, "is not there"),
        (Probe(Outcome.REFUSED, 0.1, "Permission denied"), True, "Permission denied"),
    ],
)
def test_kvm_that_cannot_be_used_says_why(kvm: Any, probe: Probe, device: bool, says: str) -> None:
    """No device, or one that QEMU may not open."""
    found = kvm("kvm", probe, device=device)

    assert found.status is Status.FAILURE
    assert says in found.message


def test_working_kvm_is_fine_and_should_be_used(kvm: Any) -> None:
    """Emulation on such a host is most likely a mistake."""
    assert kvm("kvm", FINE).status is Status.OK
    assert kvm("qemu", FINE).status is Status.WARNING


def test_without_a_probe_the_device_counts(kvm: Any) -> None:
    """On other architectures nothing more is known."""
    assert kvm("kvm", Probe(Outcome.MISSING)).status is Status.OK


def test_qemu_must_offer_the_wanted_guests() -> None:
    """For the architecture of the host."""
    assert hypervisor.QEMU.look(env("qemu")).message == "QEMU 7.2.22, qemu guests for x86_64"

    found = hypervisor.QEMU.look(env("kvm"))
    assert found.status is Status.FAILURE
    assert "no kvm guests for x86_64, only qemu" in found.message
    assert "virt_type" in found.remedy


needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is not installed"
)


def test_a_missing_swtpm_is_found() -> None:
    """The start would end there: what it says is the check's finding, too."""
    asked = env("qemu")
    asked.conf.libvirt.swtpm_enabled = True

    def capabilities() -> None:
        raise InvalidConfiguration("install swtpm and swtpm-tools")

    asked.hypervisor.capabilities = capabilities
    with pytest.raises(InvalidConfiguration, match="install swtpm"):
        hypervisor.QEMU.look(asked)
    asked.hypervisor.capabilities = lambda: None
    assert "and swtpm" in hypervisor.QEMU.look(asked).message


@needs_qemu
def test_the_probe_guest_runs() -> None:
    """Under emulation it reaches 64-bit mode and ends QEMU by itself, so a hang is KVM's fault."""
    found = kvm_probe.run("tcg", limit_s=30)

    assert found.outcome is Outcome.FINISHED, found
    assert found.seconds < 30


@needs_qemu
def test_a_probe_over_its_time_is_killed() -> None:
    """No QEMU is left behind, and the outcome is told from a refusal."""
    assert kvm_probe.run("tcg", limit_s=0.01).outcome is Outcome.HUNG


@needs_qemu
def test_a_refusal_brings_qemus_words() -> None:
    """As for a device without permission."""
    found = kvm_probe.run("nonsense")

    assert found.outcome is Outcome.REFUSED
    assert "nonsense" in found.detail


def test_no_qemu_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of libvirt says what is to be installed."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(kvm_probe, "_BINARIES", ("qemu-system-x86_64",))

    assert kvm_probe.run("kvm").outcome is Outcome.MISSING


def test_the_probe_fits_its_own_addresses() -> None:
    """The far jump and the GDT pointer name offsets inside the sector."""
    code = kvm_probe._CODE

    assert len(code) <= 510
    jump = code.index(bytes.fromhex("66ea"))
    assert int.from_bytes(code[jump + 2 : jump + 6], "little") == 0x7C00 + jump + 8
    gdt = int.from_bytes(code[-4:], "little") - 0x7C00
    assert code[gdt : gdt + 8] == bytes(8)
    assert len(code) - 6 - gdt == 16
