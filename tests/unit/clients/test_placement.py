from __future__ import annotations

import pytest
from keystoneauth1 import exceptions

from nova_lite import errors
from nova_lite.clients.placement import (
    ATTEMPTS,
    DuplicateName,
    GenerationConflict,
    InventoryInUse,
    Placement,
    ProviderNotFound,
)
from tests.fakes.placement import FakeAnswer, FakePlacementApi, problem

UUID = "8e5d3b6d-78d6-44bd-af08-700ae4892a12"
ROW = {"total": 4, "reserved": 0}


@pytest.fixture
def api() -> FakePlacementApi:
    return FakePlacementApi({"COMPUTE_NODE", "OWNER_NOVA"})


def test_a_provider_is_made_and_found_by_uuid_and_name(api: FakePlacementApi) -> None:
    """What create_provider returns is what both look-ups find."""
    placement = Placement(api)
    assert placement.provider(UUID) is None

    made = placement.create_provider(UUID, "node/1 a")

    assert made == placement.provider(UUID) == placement.provider_by_name("node/1 a")
    assert placement.provider_by_name("node2") is None


def test_a_taken_name_is_told_from_other_conflicts(api: FakePlacementApi) -> None:
    """Two providers cannot have one name."""
    api.add("other", "node1")

    with pytest.raises(DuplicateName):
        Placement(api).create_provider(UUID, "node1")


def test_conflicts_of_an_inventory_have_their_own_errors(api: FakePlacementApi) -> None:
    """An outdated generation means read again, a class in use means keep it."""
    api.add(UUID, "node1")
    placement = Placement(api)
    generation = placement.put_inventories(UUID, 0, {"VCPU": ROW})
    api.consumers["server"] = {UUID: {"VCPU": 1}}

    with pytest.raises(GenerationConflict):
        placement.put_inventories(UUID, generation - 1, {})
    with pytest.raises(InventoryInUse):
        placement.put_inventories(UUID, generation, {})
    with pytest.raises(ProviderNotFound):
        placement.inventories("nobody")


def test_known_traits_asks_in_parts_that_fit_a_request_line(api: FakePlacementApi) -> None:
    """A hundred long names are split over several queries and put together again."""
    names = {f"COMPUTE_SOMETHING_WITH_A_LONG_NAME_{n}" for n in range(100)}
    api.known |= names
    lengths: list[int] = []
    request = api.request

    def measured(url: str, method: str, **arguments: object) -> FakeAnswer:
        lengths.append(len(url))
        return request(url, method, **arguments)

    api.request = measured  # type: ignore[method-assign]

    assert Placement(api).known_traits(names | {"UNHEARD_OF"}) == names
    assert 1 < len(lengths) < 4
    assert max(lengths) < 2100


def test_deleting_allocations_twice_is_no_error(api: FakePlacementApi) -> None:
    """The answer says whether there was something."""
    api.add(UUID, "node1")
    api.use("server", UUID, VCPU=1)

    assert Placement(api).delete_allocations("server") is True
    assert Placement(api).delete_allocations("server") is False


def test_deleting_allocations_meets_conflicts_only_so_often(api: FakePlacementApi) -> None:
    """It tries again after a conflict, and gives up with the command that helps."""
    api.add(UUID, "node1")
    api.use("server", UUID, VCPU=1)
    api.fail = [problem(409, "placement.concurrent_update")]
    assert Placement(api).delete_allocations("server") is True

    api.fail = [problem(409, "placement.concurrent_update")] * ATTEMPTS
    with pytest.raises(GenerationConflict, match="allocation delete server"):
        Placement(api).delete_allocations("server")


def test_allocations_are_released_unless_somebody_changes_them(api: FakePlacementApi) -> None:
    """Nothing held is nothing to release; a change meanwhile is not taken away."""
    api.add(UUID, "node1")
    placement = Placement(api)
    placement.release_allocations("server")

    row = {UUID: {"resources": {"VCPU": 1}}}
    placement.put_allocations("server", row, project_id="p", user_id="u", consumer_generation=None)
    placement.release_allocations("server")
    assert placement.allocations("server")["allocations"] == {}

    placement.put_allocations("server", row, project_id="p", user_id="u", consumer_generation=None)
    held = FakeAnswer(200, placement.allocations("server"))
    api.fail = [held, problem(409, "placement.concurrent_update")]
    with pytest.raises(GenerationConflict):
        placement.release_allocations("server")


def test_allocations_come_back_as_they_were_put(api: FakePlacementApi) -> None:
    """What is read from Placement can be put again: provider generations are left out."""
    api.add(UUID, "node1")
    placement = Placement(api)
    row = {UUID: {"resources": {"VCPU": 1}, "generation": 7}}

    placement.put_allocations("server", row, project_id="p", user_id="u", consumer_generation=None)

    assert placement.allocations("server")["allocations"][UUID]["resources"] == {"VCPU": 1}


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (problem(401), errors.CredentialsInvalid, r"\[placement\]"),
        (problem(403), errors.CredentialsInvalid, "role"),
        (problem(503), errors.ControlPlaneUnavailable, "503"),
        (problem(400, detail="bad\n  unit"), errors.PlacementError, "bad unit"),
        (FakeAnswer(502, "<html>"), errors.ControlPlaneUnavailable, "no explanation"),
        (exceptions.ConnectFailure("refused"), errors.ControlPlaneUnavailable, "answer to GET"),
        (exceptions.ConnectTimeout("60 s"), errors.ControlPlaneUnavailable, "does not answer"),
        (exceptions.Unauthorized("no"), errors.CredentialsInvalid, "password"),
        (exceptions.EndpointNotFound("x"), errors.PlacementError, "endpoint_override"),
        (errors.CredentialsInvalid("group"), errors.CredentialsInvalid, "^group$"),
    ],
)
def test_failures_say_what_to_do(
    api: FakePlacementApi, answer: object, error: type[Exception], says: str
) -> None:
    """Every kind of failure becomes the error that the agent acts on, with its remedy."""
    api.fail = [answer]  # type: ignore[list-item]

    with pytest.raises(error, match=says):
        Placement(api).provider(UUID)


def test_every_call_names_a_microversion_of_the_oldest_release(api: FakePlacementApi) -> None:
    """Nothing newer than 1.28 is asked for, and nothing without a version."""
    api.add(UUID, "node1")
    placement = Placement(api)
    placement.provider(UUID)
    placement.traits(UUID)
    placement.inventories(UUID)
    placement.allocations("x")
    placement.create_trait("CUSTOM_A")
    placement.create_resource_class("CUSTOM_B")

    assert {"1.20", "1.6", "1.26", "1.28", "1.7"} == set(api.microversions)


def test_a_share_of_one_provider_is_given_back(api: FakePlacementApi) -> None:
    """What the server holds elsewhere stays, and a second time is no mistake."""
    api.add(UUID, "node1")
    api.add("other", "node2")
    api.use("server", UUID, VCPU=1)
    api.consumers["server"]["other"] = {"VCPU": 1}
    api.below(UUID, "nic", NET_BW_EGR_KILOBIT_PER_SEC=1000)
    api.consumers["server"]["nic"] = {"NET_BW_EGR_KILOBIT_PER_SEC": 10}
    placement = Placement(api)

    placement.drop_provider("server", UUID)
    placement.drop_provider("server", UUID)

    assert api.consumers["server"] == {"other": {"VCPU": 1}}


def test_a_consumer_gets_what_another_one_holds(api: FakePlacementApi) -> None:
    """What it held is given back, and a second time changes nothing."""
    api.add(UUID, "node1")
    api.add("other", "node2")
    api.use("migration", UUID, VCPU=1)
    api.use("server", "other", VCPU=2)
    placement = Placement(api)

    assert placement.move_allocations("migration", "server") is True
    assert placement.move_allocations("migration", "server") is False

    assert api.consumers == {"server": {UUID: {"VCPU": 1}}}


def test_a_move_meets_conflicts_only_so_often(api: FakePlacementApi) -> None:
    """It reads again after each, and gives up without having changed anything."""
    api.add(UUID, "node1")
    api.use("migration", UUID, VCPU=1)
    conflict = problem(409, "placement.concurrent_update")
    held = FakeAnswer(200, Placement(api).allocations("migration"))
    api.fail = [held, held, conflict] * ATTEMPTS

    with pytest.raises(GenerationConflict):
        Placement(api).move_allocations("migration", "server")

    assert api.consumers == {"migration": {UUID: {"VCPU": 1}}}
