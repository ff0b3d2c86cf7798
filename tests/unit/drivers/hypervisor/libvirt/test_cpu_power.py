"""Dedicated CPUs sleep while nobody is pinned to them, and never under a guest that starts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nova_lite.drivers.hypervisor.libvirt import LibvirtHypervisor
from nova_lite.drivers.hypervisor.libvirt.cpu_power import CpuPower, pinned
from nova_lite.errors import HypervisorError, InvalidConfiguration
from tests.fakes.conf_file import read_conf

PINS = """<domain><vcpu>2</vcpu><cputune>
<vcpupin vcpu='0' cpuset='2'/><vcpupin vcpu='1' cpuset='3'/><emulatorpin cpuset='2-3'/>
</cputune></domain>"""


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Four CPUs that are on, the first of which cannot go off."""
    for cpu in range(4):
        governor = tmp_path / f"cpu{cpu}" / "cpufreq" / "scaling_governor"
        governor.parent.mkdir(parents=True)
        governor.write_text("schedutil\n")
        if cpu:
            (tmp_path / f"cpu{cpu}" / "online").write_text("1\n")
    return tmp_path


def online(sysfs: Path) -> list[int]:
    files = {cpu: sysfs / f"cpu{cpu}" / "online" for cpu in range(4)}
    return [cpu for cpu, file in files.items() if not file.exists() or file.read_text()[0] == "1"]


def governors(sysfs: Path) -> str:
    return " ".join(
        (sysfs / f"cpu{cpu}/cpufreq/scaling_governor").read_text().strip() for cpu in range(4)
    )


def test_unused_cpus_go_off_and_come_back(sysfs: Path) -> None:
    """The boot CPU stays; what a guest is pinned to is up before it starts."""
    power = CpuPower(frozenset({0, 2, 3}), sysfs=sysfs)

    assert power.rest(frozenset(), power.starts())
    assert online(sysfs) == [0, 1]
    with power.held(frozenset({1, 2})):
        assert online(sysfs) == [0, 1, 2]
    assert power.rest(frozenset({2}), power.starts())
    assert online(sysfs) == [0, 1, 2]


def test_cpus_that_stock_left_offline_are_brought_back(sysfs: Path) -> None:
    """To tell their siblings at start, and where a guest runs on them."""
    power = CpuPower(frozenset({2, 3}), sysfs=sysfs)
    for cpu in (2, 3):
        (sysfs / f"cpu{cpu}" / "online").write_text("0\n")

    assert power.rest(frozenset({3}), power.starts())
    assert online(sysfs) == [0, 1, 3]
    power.wake()
    assert online(sysfs) == [0, 1, 2, 3]


def test_a_guest_that_starts_meanwhile_keeps_its_cpus(sysfs: Path) -> None:
    """It is not yet among the running ones that were looked at."""
    power = CpuPower(frozenset({2, 3}), sysfs=sysfs)

    before = power.starts()
    with power.held(frozenset({2})):
        assert not power.rest(frozenset(), before)
        assert power.rest(frozenset(), power.starts())
        assert online(sysfs) == [0, 1, 2]
    assert not power.rest(frozenset(), before)


def test_two_that_start_share_a_cpu(sysfs: Path) -> None:
    """Emulator threads of two guests may; the CPU rests when both are done."""
    power = CpuPower(frozenset({2, 3}), sysfs=sysfs)

    with power.held(frozenset({2})):
        with power.held(frozenset({2})):
            pass
        power.rest(frozenset(), power.starts())
        assert 2 in online(sysfs)
    power.rest(frozenset(), power.starts())
    assert 2 not in online(sysfs)


def test_governors_instead_of_power(sysfs: Path) -> None:
    """The other strategy; a CPU that was left offline is brought back for it."""
    power = CpuPower(frozenset({0, 2, 3}), ("powersave", "performance"), sysfs)
    (sysfs / "cpu3" / "online").write_text("0\n")

    with power.held(frozenset({3})):
        power.rest(frozenset(), power.starts())

    assert online(sysfs) == [0, 1, 2, 3]
    assert governors(sysfs) == "powersave schedutil powersave performance"


def test_a_cpu_that_does_not_come_up_fails_the_start(sysfs: Path) -> None:
    """The guest must not run on other CPUs than it was promised."""
    power = CpuPower(frozenset({2, 9}), sysfs=sysfs)

    with (
        pytest.raises(HypervisorError, match="CPU 9 of .*cpu_dedicated_set"),
        power.held(frozenset({9})),
    ):
        raise AssertionError("it was started")
    assert power.rest(frozenset({2}), power.starts()), "nothing is held any more"


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM])
def test_a_cpu_that_stays_up_hurts_nobody(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The kernel keeps one that is in use by something else; the others rest."""
    power = CpuPower(frozenset({2, 3}), sysfs=sysfs)
    real = Path.write_text

    def write(path: Path, text: str, *more: str) -> int:
        if path == sysfs / "cpu2" / "online":
            raise OSError(number, "no")
        return real(path, text, *more)

    monkeypatch.setattr(Path, "write_text", write)

    assert power.rest(frozenset(), power.starts())
    assert online(sysfs) == [0, 1, 2]


def test_pins_are_read_from_the_definition() -> None:
    """Those of vCPUs and of the emulator; a guest that floats has none."""
    assert pinned(PINS) == {2, 3}
    assert pinned("<domain><vcpu cpuset='0-1'>1</vcpu></domain>") == frozenset()


class Domain:
    """A guest of libvirt that is pinned; remembers which CPUs were on when it was started."""

    def __init__(self, sysfs: Path) -> None:
        self.sysfs, self.active, self.started_on = sysfs, False, [-1]

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        return PINS

    def isActive(self) -> bool:  # noqa: N802
        return self.active

    def createWithFlags(self, flags: int) -> None:  # noqa: N802
        self.active, self.started_on = True, online(self.sysfs)


def test_the_driver_powers_up_what_it_starts(tmp_path: Path, sysfs: Path) -> None:
    """And lets rest what no running guest needs."""
    conf = read_conf(
        tmp_path,
        {
            "libvirt": {"virt_type": "qemu", "cpu_power_management": "true"},
            "compute": {"cpu_dedicated_set": "1-3"},
        },
    )
    hypervisor, domain = LibvirtHypervisor(conf), Domain(sysfs)
    assert hypervisor._cpu_power is not None
    hypervisor._cpu_power._sysfs = sysfs
    hypervisor._connection = Connection(domain)  # type: ignore[assignment]

    hypervisor.rest_cpus()
    assert online(sysfs) == [0]
    hypervisor.start("u")
    hypervisor.rest_cpus()

    assert domain.started_on == [0, 2, 3]
    assert online(sysfs) == [0, 2, 3]
    domain.active = False
    hypervisor.rest_cpus()
    assert online(sysfs) == [0]
    hypervisor.expect_guest("v", frozenset({0, 1, 3, 9}))
    hypervisor.rest_cpus()
    assert online(sysfs) == [0, 1, 3]
    hypervisor.expect_guest("v", frozenset())
    hypervisor.rest_cpus()
    assert online(sysfs) == [0]
    hypervisor.wake_cpus()
    assert online(sysfs) == [0, 1, 2, 3]


class Connection:
    """libvirt with one guest."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def call(self, what: str, function: object, *limits: float) -> object:
        assert callable(function)
        return function(self)

    def lookupByUUIDString(self, uuid: str) -> Domain:  # noqa: N802
        return self.domain

    def listAllDomains(self, flags: int) -> list[Domain]:  # noqa: N802
        return [self.domain] if self.domain.active else []


@pytest.mark.parametrize(
    ("groups", "managed"),
    [
        ({}, False),
        ({"compute": {"cpu_dedicated_set": "1"}}, False),
        ({"libvirt": {"cpu_power_management": "true"}}, False),
        ({"libvirt": {"cpu_power_management": "true"}, "compute": {"cpu_dedicated_set": "1"}}, 1),
    ],
)
def test_it_is_for_dedicated_cpus_and_off_by_default(tmp_path, groups, managed) -> None:
    """As in nova-compute."""
    assert (CpuPower.from_conf(read_conf(tmp_path, groups)) is not None) == bool(managed)


def test_the_strategy_is_that_of_nova_conf(tmp_path: Path) -> None:
    """cpu_power_management_strategy and its governors."""
    options = {"cpu_power_management": "true", "cpu_power_management_strategy": "governor"}
    conf = read_conf(tmp_path, {"libvirt": options, "compute": {"cpu_dedicated_set": "0,2"}})

    power = CpuPower.from_conf(conf)

    assert power is not None
    assert (power.cpus, power._governors) == ({0, 2}, ("powersave", "performance"))
    conf.set_override("cpu_dedicated_set", "x", "compute")
    with pytest.raises(InvalidConfiguration, match="cpu_dedicated_set"):
        CpuPower.from_conf(conf)
