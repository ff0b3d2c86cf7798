"""Power of the host's dedicated CPUs: off, or slow, while no running guest is pinned to them.

[libvirt]cpu_power_management of nova-compute. The kernel is asked in sysfs
(/sys/devices/system/cpu/cpuN: ``online``, ``cpufreq/scaling_governor``).
"""

from __future__ import annotations

import errno
import logging
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nova_lite.errors import HypervisorError, InvalidConfiguration
from nova_lite.model.cpuset import parse_cpus

LOG = logging.getLogger(__name__)

SYSFS = Path("/sys/devices/system/cpu")
OFFLINE = "cpu_state"  # [libvirt]cpu_power_management_strategy that takes CPUs offline


class CpuPower:
    """Safe to share between threads; what is so already is not written again.

    :param cpus: [compute]cpu_dedicated_set
    :param governors: those of unused and used CPUs; None: unused CPUs are taken offline
    """

    def __init__(
        self,
        cpus: frozenset[int],
        governors: tuple[str, str] | None = None,
        sysfs: Path = SYSFS,
    ) -> None:
        # The boot CPU of most machines cannot go offline.
        self.cpus = cpus - {0} if governors is None else cpus
        self._governors = governors
        self._sysfs = sysfs
        self._lock = threading.Lock()
        self._held: Counter[int] = Counter()
        self._starts = 0
        self._expected: dict[str, frozenset[int]] = {}

    @classmethod
    def from_conf(cls, conf: Any) -> CpuPower | None:
        """None where nova.conf does not want it, or dedicates no CPUs.

        :raises InvalidConfiguration: [compute]cpu_dedicated_set is no list of CPUs
        """
        options = conf.libvirt
        if not options.cpu_power_management or not conf.compute.cpu_dedicated_set:
            return None
        governors = (options.cpu_power_governor_low, options.cpu_power_governor_high)
        offline = options.cpu_power_management_strategy == OFFLINE
        try:
            cpus = parse_cpus(conf.compute.cpu_dedicated_set)
        except ValueError as error:
            raise InvalidConfiguration(f"[compute] cpu_dedicated_set: {error}") from None
        return cls(cpus, None if offline else governors)

    @contextmanager
    def held(self, cpus: frozenset[int]) -> Iterator[None]:
        """Keep CPUs up while a guest on them is started; ``rest`` leaves them alone meanwhile.

        :raises HypervisorError: one does not come up
        """
        wanted = cpus & self.cpus
        with self._lock:
            self._held.update(wanted)
            self._starts += 1
        try:
            self._up(wanted)
            yield
        finally:
            with self._lock:
                self._held.subtract(wanted)
                self._held += Counter()  # without zeros
                self._starts += 1

    def expect(self, guest: str, cpus: frozenset[int]) -> None:
        """Keep CPUs up for a guest that is on its way here; none: it has come, or does not.

        :raises HypervisorError: one does not come up
        """
        wanted = cpus & self.cpus
        with self._lock:
            self._expected.pop(guest, None)
            if wanted:
                self._expected[guest] = wanted
            self._starts += 1
        self._up(wanted)

    def wake(self) -> None:
        """All CPUs up: only then libvirt tells their sockets and siblings."""
        self._up(self.cpus)

    def starts(self) -> int:
        """A number that changes whenever a guest is started; ask before looking at guests."""
        with self._lock:
            return self._starts

    def rest(self, used: frozenset[int], starts: int) -> bool:
        """Power down what is unused, and up what is used.

        :param used: the CPUs of running guests
        :param starts: what ``starts`` said before they were looked at
        :return: False when a guest was started since; look again then
        """
        self._up(used & self.cpus)
        # Against a start in between, not against the kernel, which answers within milliseconds.
        with self._lock:
            if starts != self._starts:
                return False
            expected = frozenset[int]().union(*self._expected.values())
            for cpu in sorted(self.cpus - used - expected - self._held.keys()):
                self._power_down(cpu)
            return True

    def _up(self, cpus: frozenset[int]) -> None:
        for cpu in sorted(cpus):
            try:
                # With governors, too: stock may have left it offline under another strategy.
                self._write(cpu, "online", "1")
                if self._governors is not None:
                    self._write(cpu, "cpufreq/scaling_governor", self._governors[1])
            except OSError as error:
                raise HypervisorError(
                    f"CPU {cpu} of [compute]cpu_dedicated_set cannot be powered up: {error}"
                ) from error

    def _power_down(self, cpu: int) -> None:
        try:
            if self._governors is None:
                self._write(cpu, "online", "0")
            else:
                self._write(cpu, "cpufreq/scaling_governor", self._governors[0])
        except OSError as error:
            if error.errno == errno.EBUSY:
                LOG.info("CPU %d is busy and stays up", cpu)
            else:
                LOG.warning("CPU %d cannot be powered down: %s", cpu, error)

    def _write(self, cpu: int, name: str, value: str) -> None:
        path = self._sysfs / f"cpu{cpu}" / name
        try:
            if path.read_text().strip() == value:
                return
        except FileNotFoundError:
            if name == "online" and path.parent.is_dir():
                return  # a CPU that cannot go offline
            raise
        path.write_text(value)
        LOG.debug("CPU %d: %s is %s", cpu, name, value)


def pinned(domain_xml: str) -> frozenset[int]:
    """The host CPUs that a guest's vCPUs and emulator are pinned to.

    :param domain_xml: libvirt's definition of it
    """
    root = ET.fromstring(domain_xml)
    pins = (*root.findall("cputune/vcpupin"), *root.findall("cputune/emulatorpin"))
    return frozenset[int]().union(*(parse_cpus(pin.get("cpuset", "")) for pin in pins))
