"""The hypervisor contract: guests in, guests out, and what the host is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from nova_lite.drivers.hypervisor.live_migrations import LiveMigrations
from nova_lite.drivers.hypervisor.secrets import Secrets
from nova_lite.model.diagnostics import GuestStats
from nova_lite.model.domain import DiskSpec, DomainSpec, NicSpec
from nova_lite.model.host import (
    Capabilities,
    ConsoleAddress,
    DomainEvent,
    DomainInfo,
    GuestDevice,
    GuestDisk,
    HostFacts,
)
from nova_lite.model.states import PowerState


class Hypervisor(LiveMigrations, Secrets, ABC):
    """One hypervisor on this host.

    Guests are addressed by server uuid. Every method may raise HypervisorUnavailable (the daemon
    does not answer; retry later) and HypervisorError (it refused; the message says why). Methods
    that need the guest raise DomainNotFound when there is none, unless said otherwise. All are safe
    to call from several threads and to repeat: asking for what is already so succeeds.
    """

    @abstractmethod
    def connect(self) -> None:
        """Connect and check versions; raises HypervisorTooOld or HypervisorUnavailable."""

    @abstractmethod
    def close(self) -> None:
        """Stop event delivery and disconnect; guests keep running."""

    @abstractmethod
    def ping(self) -> None:
        """Return when the hypervisor answers, raise HypervisorUnavailable when not."""

    @abstractmethod
    def facts(self) -> HostFacts:
        """Identity and size of the host, read now."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What can be asked of this driver on this host."""

    @abstractmethod
    def subscribe(self, callback: Callable[[DomainEvent], None]) -> None:
        """Call ``callback`` from the event thread for every guest life-cycle event."""

    @abstractmethod
    def domains(self) -> list[DomainInfo]:
        """Every guest, running or not; also those that nobody here made."""

    @abstractmethod
    def power_state(self, uuid: str) -> PowerState:
        """State of one guest."""

    def wake_cpus(self) -> None:
        """Power all dedicated host CPUs up, before ``facts`` are read for NUMA placement.

        Of a CPU that is offline neither socket nor siblings can be told.
        """
        return None

    def rest_cpus(self) -> None:
        """Power down the dedicated host CPUs that no running guest is pinned to.

        Where [libvirt]cpu_power_management is off, or the driver has none, this is nothing. A start
        powers up what it needs.
        """
        return None

    @abstractmethod
    def define(self, spec: DomainSpec) -> None:
        """Make the persistent definition equal to ``spec`` (replaces an inactive one)."""

    @abstractmethod
    def defined(self, uuid: str) -> bool:
        """Whether the guest is known, running or not."""

    @abstractmethod
    def definition(self, uuid: str) -> str:
        """The persistent definition in the hypervisor's own words, for ``redefine``."""

    @abstractmethod
    def redefine(self, uuid: str, definition: str) -> None:
        """Put back a definition that was read before; also one that a stock agent has kept."""

    @abstractmethod
    def describe(self, uuid: str, metadata: Mapping[str, object]) -> None:
        """Replace what a guest's definition says of its server, now and at its next start.

        :param metadata: as in DomainSpec
        """

    @abstractmethod
    def start(self, uuid: str, *, paused: bool = False) -> None:
        """Boot a defined guest; does nothing when it already runs (or is paused).

        Memory that was saved is dropped.
        """

    @abstractmethod
    def pause(self, uuid: str) -> None:
        """Hold a guest's processors; its memory stays where it is. Raises GuestNotRunning."""

    @abstractmethod
    def resume(self, uuid: str) -> None:
        """Let a paused guest run; raises GuestNotRunning."""

    @abstractmethod
    def sync_time(self, uuid: str) -> None:
        """Have the guest's agent set its clock, which was held; virDomainSetTime.

        Without an agent the clock stays as it is; that is only logged, as is every failure.
        """

    @abstractmethod
    def save(self, uuid: str) -> None:
        """Write a guest's memory to the host's disk and end it.

        May take long. Does nothing when that is done already; raises GuestNotRunning when the
        guest is off without saved memory.
        """

    @abstractmethod
    def saved(self, uuid: str) -> bool:
        """Whether the guest is off and has saved memory."""

    @abstractmethod
    def restore(self, uuid: str) -> None:
        """Let a guest go on from its saved memory, which is gone then; boot it without one.

        Its clock is set, as by sync_time.
        """

    @abstractmethod
    def inject_nmi(self, uuid: str) -> None:
        """Send a non-maskable interrupt: guests prepared for it dump their memory.

        Not idempotent. Raises GuestNotRunning and CrashDumpUnsupported.
        """

    @abstractmethod
    def stats(self, uuid: str) -> GuestStats:
        """What a running guest has used so far."""

    @abstractmethod
    def shutdown(self, uuid: str) -> None:
        """Ask the guest to power off (ACPI or guest agent) and return at once."""

    @abstractmethod
    def destroy(self, uuid: str) -> None:
        """Cut the power; does nothing when the guest is off or unknown."""

    @abstractmethod
    def undefine(self, uuid: str, *, keep_nvram: bool = False) -> None:
        """Forget an inactive guest and its NVRAM; does nothing when unknown."""

    @abstractmethod
    def graphics(self, uuid: str, kind: str) -> ConsoleAddress | None:
        """Address of the vnc/spice console of a running guest, None when it has none."""

    @abstractmethod
    def serial_ports(self, uuid: str) -> list[ConsoleAddress]:
        """Addresses of a running guest's serial ports, in order; empty when it has none."""

    @abstractmethod
    def all_serial_ports(self) -> dict[str, list[ConsoleAddress]]:
        """Addresses that the serial ports of any guest have now or at its next start, by uuid."""

    @abstractmethod
    def taps(self, uuid: str) -> list[tuple[str, str]]:
        """(MAC address, host device) of the guest's interfaces that have a host device."""

    @abstractmethod
    def devices(self, uuid: str) -> list[GuestDevice]:
        """The guest's disks and network cards, in its own order."""

    @abstractmethod
    def foreign_devices(self, uuid: str) -> list[str]:
        """Devices in the persistent definition that no DomainSpec describes, in words."""

    @abstractmethod
    def disks(self, uuid: str) -> list[GuestDisk]:
        """The guest's disks, of now and of its next start; empty CD drives are left out."""

    @abstractmethod
    def attach_disk(self, uuid: str, disk: DiskSpec) -> None:
        """Give the guest a disk for good, at once when it runs or is paused.

        Does nothing where the guest has a disk with that serial and source already.

        :raises NoFreeSlot: nothing more can be plugged in; the message says what to change
        :raises HypervisorError: the target has another disk, the serial another source, the guest
            is suspended, or the storage cannot be opened; then the guest is as before
        """

    @abstractmethod
    def detach_disk(self, uuid: str, serial: str) -> None:
        """Take the disk with that serial from the guest for good; return when it has let go.

        May take device_detach_attempts times device_detach_timeout. Does nothing where the guest
        has no such disk, or there is no guest.

        :raises DeviceDetachFailed: the guest does not let go (it keeps the disk, also when it
            starts again), or is suspended
        """

    @abstractmethod
    def attach_nic(self, uuid: str, nic: NicSpec) -> None:
        """Give the guest a network card for good, at once when it runs or is paused.

        Its host side is there. Does nothing where the guest has a card with that MAC address on
        that tap already.

        :raises NoFreeSlot: nothing more can be plugged in; the message says what to change
        :raises HypervisorError: the guest is suspended, or the card cannot be had; then the guest
            is as before
        """

    @abstractmethod
    def detach_nic(self, uuid: str, mac: str, device: str) -> None:
        """Take a network card from the guest for good, as ``detach_disk`` does with a disk.

        :param device: its tap on the host; two cards may have one MAC address
        :raises DeviceDetachFailed: the guest does not let go and keeps the card, or is paused or
            suspended, which it is not asked in
        """

    @abstractmethod
    def resize_disk(self, uuid: str, serial: str, size_bytes: int) -> None:
        """Tell a running guest the new size of a disk; does nothing when the guest is off.

        :param size_bytes: as the guest shall see it: without the header of a LUKS volume
        """

    @abstractmethod
    def disk_size(self, uuid: str, serial: str) -> int | None:
        """Bytes that a guest which is not off sees of a disk; None when it is off.

        Raises HypervisorError when it has no such disk.
        """

    @abstractmethod
    def copy_nvram(self, uuid: str, target: Path) -> bool:
        """Copy what the firmware of a guest that is off remembers to a new file, whole or not at
        all; one that is there stays. False: it remembers nothing."""

    @abstractmethod
    def restore_nvram(self, uuid: str, source: Path) -> None:
        """Let the firmware of a defined guest that is off remember what was copied to ``source``;
        it begins anew where this host's firmware could not read that."""

    @abstractmethod
    def freeze(self, uuid: str) -> None:
        """Make the guest flush its file systems and hold back all writes until ``thaw``.

        After an error the guest may be frozen all the same: thaw it.

        This, ``thaw`` and ``set_password`` need the QEMU guest agent inside the guest.

        :raises GuestAgentNotEnabled: the guest has no channel to one
        :raises GuestAgentUnresponsive: none answers within about 25 s
        :raises HypervisorError: the guest is off, or the agent refused
        """

    @abstractmethod
    def thaw(self, uuid: str) -> None:
        """Let the guest write again; does nothing when it is not frozen."""

    @abstractmethod
    def set_password(self, uuid: str, user: str, password: str) -> None:
        """Give ``user`` of the guest a new password, which no error text repeats."""

    @abstractmethod
    def mirror_disk(self, uuid: str, disk: Path, target: Path, disk_format: str) -> None:
        """Begin to copy a disk of a guest that is not off, with what it is based on, to a new file.

        The guest's writes go to both. Returns at once; does nothing while such a copy is made.
        """

    @abstractmethod
    def mirror_ready(self, uuid: str, disk: Path) -> bool:
        """Whether the copy has caught up with the guest.

        Raises HypervisorError when there is none (any more): it failed, or the guest is off.
        """

    @abstractmethod
    def finish_mirror(self, uuid: str, disk: Path) -> None:
        """End a copy that is ready: ``target`` is the disk as of this moment, nobody has it open.

        Raises HypervisorError when there is none or it is not ready.
        """

    @abstractmethod
    def drop_mirror(self, uuid: str, disk: Path) -> None:
        """Give a copy up, if one is being made; its file stays for the caller to remove."""

    @abstractmethod
    def begin_move(self, uuid: str, serial: str, disk: DiskSpec) -> None:
        """Begin to copy the disk with that serial of a guest that is not off to the source of
        ``disk``, which exists and is large enough; the guest's writes go to both.

        Returns at once; does nothing while the copy is made, or where it was finished.

        :raises GuestNotRunning: the guest is off
        :raises HypervisorError: it has no such disk, this is being copied to another place, or the
            new one cannot be opened; the guest is as before
        """

    @abstractmethod
    def move_ready(self, uuid: str, serial: str) -> bool:
        """Whether the copy has caught up with the guest.

        Raises HypervisorError when there is none (any more): it failed, or the guest is off.
        """

    @abstractmethod
    def finish_move(self, uuid: str, serial: str, disk: DiskSpec) -> None:
        """Let the guest use the copy from now on, and at its next start: ``disks`` shows it.

        Its serial and its other properties stay. Does nothing where that is so already; raises
        HypervisorError when there is no copy or it is not ready.
        """

    @abstractmethod
    def drop_move(self, uuid: str, serial: str) -> None:
        """Give a copy up, if one is being made: the guest has used its disk all the time."""

    @abstractmethod
    def overlay_disk(self, uuid: str, serial: str, overlay: str) -> None:
        """Let the guest write to the qcow2 file named ``overlay``, which is there, beside the file
        of the disk with that serial and based on it; does nothing where it does already.

        :raises HypervisorError: the guest has no such disk, or this is not a file
        """

    @abstractmethod
    def disk_chain(self, uuid: str, serial: str) -> list[str]:
        """Paths of the files that a disk consists of, the one that is written to first; of a guest
        that is off, only that one. Raises HypervisorError as ``overlay_disk``."""

    @abstractmethod
    def begin_merge(self, uuid: str, serial: str, top: str | None, base: str | None) -> None:
        """Begin to merge files of a disk of a guest that is not off, each named as in its chain or
        without a directory; does nothing while files of the disk are being merged.

        :param top: everything from it down to ``base`` is written to ``base``; None: everything
            between the file that is written to and ``base`` (None: to the end) is copied into that
        :raises GuestNotRunning: the guest is off
        :raises HypervisorError: no such disk, or no such files
        """

    @abstractmethod
    def merging(self, uuid: str, serial: str) -> bool:
        """Whether files of the disk are being merged; ``disk_chain`` tells how that ended."""
