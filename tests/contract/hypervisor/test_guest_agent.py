"""What every hypervisor driver promises about the agent inside a guest, as far as none is there.

That an agent does what it is asked is shown on a real guest in ``tests/cloud``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.errors import (
    DomainNotFound,
    GuestAgentNotEnabled,
    GuestAgentUnresponsive,
    HypervisorError,
)
from nova_lite.model.domain import DomainSpec
from tests.contract.hypervisor.test_hypervisor_contract import NOBODY, hypervisor, spec

__all__ = ["hypervisor", "spec"]

REQUESTS = {
    "freeze": (),
    "thaw": (),
    "set_password": ("root", "correct horse"),
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_guest_without_channel_has_no_agent(
    hypervisor: Hypervisor, spec: DomainSpec, request_name: str
) -> None:
    """Without a channel in the definition nothing can be asked, and the error says so."""
    hypervisor.define(spec)
    hypervisor.start(spec.uuid)

    with pytest.raises(GuestAgentNotEnabled, match="hw_qemu_guest_agent"):
        getattr(hypervisor, request_name)(spec.uuid, *REQUESTS[request_name])


@pytest.mark.parametrize("channel", [False, True])
def test_without_an_agent_the_clock_stays_as_it_is(
    hypervisor: Hypervisor, spec: DomainSpec, channel: bool
) -> None:
    """Most guests have none, and nothing fails; nor does it for a guest that is off, or gone."""
    hypervisor.define(replace(spec, guest_agent=channel))
    hypervisor.start(spec.uuid)

    hypervisor.sync_time(spec.uuid)
    hypervisor.destroy(spec.uuid)
    hypervisor.sync_time(spec.uuid)
    hypervisor.sync_time(NOBODY)


@pytest.mark.parametrize("request_name", REQUESTS)
def test_an_agent_that_is_not_there_is_unresponsive(
    hypervisor: Hypervisor, spec: DomainSpec, request_name: str
) -> None:
    """A channel that nobody listens to is told from none, and no error repeats a password."""
    hypervisor.define(replace(spec, guest_agent=True))
    hypervisor.start(spec.uuid)

    with pytest.raises(GuestAgentUnresponsive) as caught:
        getattr(hypervisor, request_name)(spec.uuid, *REQUESTS[request_name])
    assert "correct horse" not in str(caught.value)


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_guest_that_is_off_cannot_be_asked(
    hypervisor: Hypervisor, spec: DomainSpec, request_name: str
) -> None:
    """An agent runs only in a running guest."""
    hypervisor.define(replace(spec, guest_agent=True))

    with pytest.raises(HypervisorError):
        getattr(hypervisor, request_name)(spec.uuid, *REQUESTS[request_name])


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_missing_guest_is_named(hypervisor: Hypervisor, request_name: str) -> None:
    """As for all other requests."""
    with pytest.raises(DomainNotFound, match=NOBODY):
        getattr(hypervisor, request_name)(NOBODY, *REQUESTS[request_name])
