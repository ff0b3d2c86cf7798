"""The hypervisor contract: guests in, guests out, and what the host is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from nova_lite.model.domain import DomainSpec
from nova_lite.model.host import Capabilities, ConsoleAddress, DomainEvent, DomainInfo, HostFacts
from nova_lite.model.states import PowerState


class Hypervisor(ABC):
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

    @abstractmethod
    def define(self, spec: DomainSpec) -> None:
        """Make the persistent definition equal to ``spec`` (replaces an inactive one)."""

    @abstractmethod
    def defined(self, uuid: str) -> bool:
        """Whether the guest is known, running or not."""

    @abstractmethod
    def start(self, uuid: str, *, paused: bool = False) -> None:
        """Start a defined guest; does nothing when it already runs (or is paused)."""

    @abstractmethod
    def resume(self, uuid: str) -> None:
        """Let a paused guest run."""

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
    def taps(self, uuid: str) -> list[tuple[str, str]]:
        """(MAC address, host device) of the guest's interfaces that have a host device."""

    @abstractmethod
    def attached_devices(self, uuid: str) -> dict[str, list[str]]:
        """Targets of the guest's disks and nics: {"disks": ["vda"], "nics": [mac, ...]}."""

    # --- with the help of an agent inside the guest -----------------------------------------
    # These raise GuestAgentNotEnabled when the guest has no channel to one, GuestAgentUnresponsive
    # when none answers within about 40 s, and HypervisorError when the guest is off.
    @abstractmethod
    def freeze(self, uuid: str) -> None:
        """Make the guest flush its file systems and hold back all writes until ``thaw``.

        After an error the guest may be frozen all the same: thaw it.
        """

    @abstractmethod
    def thaw(self, uuid: str) -> None:
        """Let the guest write again; does nothing when it is not frozen."""

    @abstractmethod
    def set_password(self, uuid: str, user: str, password: str) -> None:
        """Give ``user`` of the guest a new password, which no error text repeats."""
