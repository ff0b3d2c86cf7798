from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite import errors
from nova_lite.clients.placement import Placement
from nova_lite.inventory.provider import Inventory, Provider, ProviderState, host_state
from tests.fakes.placement import FakePlacementApi, problem

UUID = "8e5d3b6d-78d6-44bd-af08-700ae4892a12"
PATH = f"/resource_providers/{UUID}"
KNOWN = {
    "COMPUTE_NODE",
    "COMPUTE_STATUS_DISABLED",
    "COMPUTE_RESCUE_BFV",
    "OWNER_NOVA",
    "HW_CPU_X86_AVX",
    "HW_NIC_SRIOV",
}
WANTED = ProviderState(
    {"VCPU": Inventory(2, initial_ratio=4.0), "MEMORY_MB": Inventory(4096, 512)},
    frozenset({"COMPUTE_NODE", "OWNER_NOVA"}),
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def api() -> FakePlacementApi:
    return FakePlacementApi(set(KNOWN))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(api: FakePlacementApi, clock: Clock) -> Provider:
    return make(api, clock)


def make(api: FakePlacementApi, clock: Clock | None = None, refresh_s: float = 300) -> Provider:
    return Provider(Placement(api), UUID, "node1", refresh_s, clock or Clock())


def changes(api: FakePlacementApi) -> list[str]:
    """Calls since the last look that change something."""
    found = [call for call in api.calls if not call.startswith("GET")]
    api.calls.clear()
    return found


def test_a_new_host_is_made_with_five_calls(api: FakePlacementApi, provider: Provider) -> None:
    """Provider, inventories and traits; what was just made is not read."""
    provider.sync(WANTED)

    assert api.calls == [
        f"GET {PATH}",
        "POST /resource_providers",
        f"PUT {PATH}/inventories",
        "GET /traits",
        f"PUT {PATH}/traits",
    ]
    assert api.providers[UUID]["traits"] == {"COMPUTE_NODE", "OWNER_NOVA"}
    assert api.providers[UUID]["inventories"]["VCPU"] == {
        "total": 2,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 2,
        "step_size": 1,
        "allocation_ratio": 4.0,
    }


def test_an_unchanged_host_makes_no_call(
    api: FakePlacementApi, provider: Provider, clock: Clock
) -> None:
    """Until what was read is too old to be believed; then it is read, and nothing is written."""
    provider.sync(WANTED)
    api.calls.clear()

    clock.now += 299
    provider.sync(replace(WANTED))
    assert api.calls == []

    clock.now += 2
    provider.sync(WANTED)
    assert api.calls == [f"GET {PATH}/inventories", f"GET {PATH}/traits"]


def test_a_refresh_of_zero_reads_never_again(api: FakePlacementApi, clock: Clock) -> None:
    """Until SIGHUP, which forgets."""
    provider = make(api, clock, refresh_s=0)
    provider.sync(WANTED)
    api.calls.clear()
    clock.now += 1e9
    provider.sync(WANTED)
    assert api.calls == []

    provider.forget()
    provider.sync(WANTED)

    assert api.calls == [f"GET {PATH}", f"GET {PATH}/inventories", f"GET {PATH}/traits"]


def test_a_restarted_agent_changes_nothing(api: FakePlacementApi, provider: Provider) -> None:
    """A second process finds all as it wants it."""
    provider.sync(WANTED)
    api.calls.clear()

    make(api).sync(WANTED)

    assert changes(api) == []


def test_somebody_elses_change_is_undone_after_the_refresh(
    api: FakePlacementApi, provider: Provider, clock: Clock
) -> None:
    """An inventory edited by hand goes back to what the host has."""
    provider.sync(WANTED)
    api.providers[UUID]["inventories"]["VCPU"]["total"] = 64
    clock.now += 301

    provider.sync(WANTED)

    assert api.providers[UUID]["inventories"]["VCPU"]["total"] == 2


def test_the_ratio_of_placement_stays_unless_configured(
    api: FakePlacementApi, provider: Provider, clock: Clock
) -> None:
    """An operator sets ratios in Placement; nova.conf's own setting wins over it."""
    provider.sync(WANTED)
    api.providers[UUID]["inventories"]["VCPU"]["allocation_ratio"] = 9.5
    clock.now += 301
    api.calls.clear()

    provider.sync(WANTED)
    assert changes(api) == []

    wanted = {**WANTED.inventories, "VCPU": Inventory(2, ratio=3.0)}
    provider.sync(replace(WANTED, inventories=wanted))
    assert api.providers[UUID]["inventories"]["VCPU"]["allocation_ratio"] == 3.0


def test_nothing_of_a_class_means_no_inventory(api: FakePlacementApi, provider: Provider) -> None:
    """Placement refuses a total of 0; a class that the host lost goes away."""
    provider.sync(WANTED)
    rows = {**WANTED.inventories, "VCPU": Inventory(0), "PCPU": Inventory(2, ratio=1.0)}

    provider.sync(replace(WANTED, inventories=rows))

    assert set(api.providers[UUID]["inventories"]) == {"PCPU", "MEMORY_MB"}


def test_a_class_in_use_is_closed_instead_of_removed(
    api: FakePlacementApi, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is reported all the same, once, with a warning."""
    provider.sync(WANTED)
    api.use("server", UUID, VCPU=1)
    rows = {"PCPU": Inventory(2, ratio=1.0), "MEMORY_MB": Inventory(8192)}

    provider.sync(ProviderState(rows, WANTED.traits))

    found = api.providers[UUID]["inventories"]
    assert {name: row["reserved"] for name, row in found.items()} == {
        "PCPU": 0,
        "VCPU": 2,
        "MEMORY_MB": 0,
    }
    assert found["MEMORY_MB"]["total"] == 8192
    assert [r.levelname for r in caplog.records if "VCPU of node1" in r.message] == ["WARNING"]
    api.calls.clear()
    provider.sync(ProviderState(rows, WANTED.traits))
    assert api.calls == []


def test_inventories_of_others_stay(api: FakePlacementApi, provider: Provider) -> None:
    """A class that an operator added by hand is none of ours."""
    api.classes.add("CUSTOM_LICENSE")
    row = Inventory(5).fields(None)
    api.add(UUID, "node1")["inventories"]["CUSTOM_LICENSE"] = row

    provider.sync(WANTED)

    assert api.providers[UUID]["inventories"]["CUSTOM_LICENSE"] == row


def test_a_custom_class_of_ours_is_made_and_goes_again(
    api: FakePlacementApi, provider: Provider
) -> None:
    """What provider.yaml adds is known to Placement before it is used."""
    rows = {**WANTED.inventories, "CUSTOM_LICENSE": Inventory(5)}

    provider.sync(replace(WANTED, inventories=rows))
    assert "CUSTOM_LICENSE" in api.providers[UUID]["inventories"]

    provider.sync(WANTED)
    assert "CUSTOM_LICENSE" not in api.providers[UUID]["inventories"]


def test_traits_of_others_stay_and_ours_go(api: FakePlacementApi, provider: Provider) -> None:
    """COMPUTE_ and CPU traits are the agent's to remove, NIC and CUSTOM_ ones are not."""
    api.known.add("CUSTOM_GOLD")
    foreign = {"HW_NIC_SRIOV", "CUSTOM_GOLD"}
    api.add(UUID, "node1")["traits"] = foreign | {"COMPUTE_RESCUE_BFV", "HW_CPU_X86_AVX"}

    provider.sync(WANTED)

    assert api.providers[UUID]["traits"] == foreign | WANTED.traits


def test_unknown_traits_are_dropped_with_one_warning(
    api: FakePlacementApi, provider: Provider, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An older Placement does not stop the host; it is asked only once."""
    wanted = replace(WANTED, traits=WANTED.traits | {"COMPUTE_TELEPORT", "CUSTOM_OURS"})
    for _ in range(3):
        clock.now += 301
        provider.sync(wanted)

    assert api.providers[UUID]["traits"] == WANTED.traits | {"CUSTOM_OURS"}
    assert sum("COMPUTE_TELEPORT" in r.message for r in caplog.records) == 1
    assert api.calls.count("GET /traits") == 1


def test_disabling_is_done_at_once_and_stays(
    api: FakePlacementApi, provider: Provider, clock: Clock
) -> None:
    """The next report neither removes the trait nor costs a call."""
    provider.sync(WANTED)
    provider.set_disabled(True)
    assert "COMPUTE_STATUS_DISABLED" in api.providers[UUID]["traits"]
    api.calls.clear()

    provider.sync(WANTED)
    assert api.calls == []
    clock.now += 301
    provider.sync(WANTED)
    assert changes(api) == []

    provider.set_disabled(False)
    assert api.providers[UUID]["traits"] == WANTED.traits


def test_disabled_is_left_as_found_until_it_is_said(api: FakePlacementApi) -> None:
    """A restarted agent that does not know yet keeps the scheduler away."""
    api.add(UUID, "node1")["traits"] = {"COMPUTE_STATUS_DISABLED"}
    provider = make(api)

    provider.sync(WANTED)
    assert "COMPUTE_STATUS_DISABLED" in api.providers[UUID]["traits"]

    again = make(api)
    again.set_disabled(False)
    assert "COMPUTE_STATUS_DISABLED" in api.providers[UUID]["traits"]
    again.sync(WANTED)
    assert "COMPUTE_STATUS_DISABLED" not in api.providers[UUID]["traits"]


def test_disabling_sees_what_others_did(
    api: FakePlacementApi, provider: Provider, clock: Clock
) -> None:
    """The trait is compared with Placement, not with what is remembered."""
    provider.sync(WANTED)
    provider.set_disabled(True)
    row = api.providers[UUID]
    row["traits"] = {"HW_NIC_SRIOV"}
    row["generation"] += 1

    provider.set_disabled(True)

    assert row["traits"] == {"HW_NIC_SRIOV", "COMPUTE_STATUS_DISABLED"}
    provider.sync(WANTED)
    assert row["traits"] == {"HW_NIC_SRIOV", "COMPUTE_STATUS_DISABLED"} | WANTED.traits


def test_a_generation_conflict_is_read_and_tried_again(
    api: FakePlacementApi, provider: Provider
) -> None:
    """Every boot moves the generation on: that is no failure."""
    provider.sync(WANTED)
    api.use("server", UUID, VCPU=1)

    provider.sync(replace(WANTED, traits=WANTED.traits | {"HW_CPU_X86_AVX"}))

    assert "HW_CPU_X86_AVX" in api.providers[UUID]["traits"]


def test_endless_conflicts_end_with_an_error(api: FakePlacementApi, provider: Provider) -> None:
    """Two agents with one compute_id fight; the message names the likely cause."""
    api.add(UUID, "node1")
    put = api._put_resource_providers_inventories

    def fight(*arguments: Any) -> Any:
        api.providers[UUID]["generation"] += 1
        return put(*arguments)

    api._put_resource_providers_inventories = fight  # type: ignore[method-assign]

    with pytest.raises(errors.PlacementError, match="compute_id"):
        provider.sync(WANTED)


def test_a_provider_deleted_meanwhile_is_made_again(
    api: FakePlacementApi, provider: Provider
) -> None:
    """With all it had, although nothing about the host changed."""
    provider.sync(WANTED)
    del api.providers[UUID]

    provider.forget()
    provider.sync(WANTED)
    del api.providers[UUID]
    provider.sync(replace(WANTED, traits=WANTED.traits | {"HW_CPU_X86_AVX"}))

    assert set(api.providers[UUID]["inventories"]) == {"VCPU", "MEMORY_MB"}
    assert "HW_CPU_X86_AVX" in api.providers[UUID]["traits"]


@pytest.mark.parametrize(
    ("uuid", "name", "remedy"),
    [("other", "node1", "compute_id"), (UUID, "old-name", "old name back")],
)
def test_somebody_elses_identity_is_refused(
    api: FakePlacementApi, provider: Provider, uuid: str, name: str, remedy: str
) -> None:
    """Name and uuid of a provider belong together; nothing is changed when they do not."""
    api.add(uuid, name)

    with pytest.raises(errors.HostIdentityError, match=remedy):
        provider.sync(WANTED)

    assert api.providers[uuid]["inventories"] == {}


def test_a_failed_report_is_made_up_for(api: FakePlacementApi, provider: Provider) -> None:
    """After an outage in the middle the next tick reads again and completes."""
    provider.sync(WANTED)
    wanted = replace(WANTED, traits=WANTED.traits | {"HW_CPU_X86_AVX"})
    api.fail = [problem(503)]
    with pytest.raises(errors.ControlPlaneUnavailable):
        provider.sync(wanted)

    provider.sync(wanted)

    assert api.providers[UUID]["traits"] == wanted.traits


def test_host_state_follows_nova_conf() -> None:
    """Reservations, ratios and the traits every compute host has."""
    conf = SimpleNamespace(
        cpu_allocation_ratio=0.0,
        ram_allocation_ratio=None,
        disk_allocation_ratio=2.0,
        initial_cpu_allocation_ratio=4.0,
        initial_ram_allocation_ratio=1.0,
        initial_disk_allocation_ratio=1.0,
        reserved_host_cpus=1,
        reserved_host_memory_mb=512,
        reserved_host_disk_mb=1025,
    )

    state = host_state(
        conf, vcpus=8, pcpus=4, memory_mb=9, disk_gb=7, traits=frozenset({"HW_CPU_X86_AVX"})
    )

    assert state.inventories == {
        "VCPU": Inventory(8, 1, ratio=None, initial_ratio=4.0),
        "PCPU": Inventory(4, 0, ratio=1.0),
        "MEMORY_MB": Inventory(9, 512, ratio=None, initial_ratio=1.0),
        "DISK_GB": Inventory(7, 2, ratio=2.0, initial_ratio=1.0),
    }
    assert state.traits == {"COMPUTE_NODE", "OWNER_NOVA", "HW_CPU_X86_AVX"}
    # More reserved than there is would be refused.
    assert state.inventories["MEMORY_MB"].fields(None)["reserved"] == 9
    more = host_state(
        conf, vcpus=8, pcpus=4, memory_mb=9, disk_gb=7, traits=frozenset(), image_cache_gb=3
    )
    assert more.inventories["DISK_GB"].reserved == 5


def test_a_change_is_told_in_the_log(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """Operators see what the host reported."""
    caplog.set_level(logging.INFO)

    provider.sync(WANTED)

    assert "MEMORY_MB 4096 (reserved 512, ratio 1)" in caplog.text


def test_the_provider_of_a_host_deleted_by_its_operator_stays_away(
    api: FakePlacementApi, clock: Clock
) -> None:
    """It went together with the service; made again it would be scheduled to, and nobody's."""
    provider = Provider(Placement(api), UUID, "node1", 300, clock, is_member=lambda: False)
    provider.sync(WANTED)  # a host that joins is no member yet
    del api.providers[UUID]
    clock.now += 301

    with pytest.raises(errors.HostIdentityError, match="deleted from the cloud"):
        provider.sync(WANTED)

    assert UUID not in api.providers
