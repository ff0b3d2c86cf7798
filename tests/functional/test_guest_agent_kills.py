"""kill -9 around what is asked of the agent in a guest.

A password is not on disk, but in memory: a change that was cut off goes on. A guest whose freeze
was cut off is thawed, because whoever asked for it does not know of it.
"""

from __future__ import annotations

import pytest

from tests.functional import prepare

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(300)]

SECRET = "hush-Korrekt-Pferd"
AGENT = {"guest_agent": True}


@pytest.fixture
def trial(lab):
    """A running server with a guest agent."""
    made = lab.trial()
    prepare.boot(made)
    stored = made.conductor.instance(made.server)["system_metadata"]
    made.set(system_metadata={**stored, "image_hw_qemu_guest_agent": "yes"})
    yield made
    made.clear()


def boundaries(trial, method, **arguments):
    """What is passed when nobody disturbs it."""
    trial.restore()
    record = trial.lab.directory / "boundaries"
    record.unlink(missing_ok=True)
    assert trial.run(trial.message(method, **arguments), record=str(record), **AGENT)
    return record.read_text().splitlines()


def killed_at_each(trial, method, **arguments):
    """(boundary, look, guest) after a kill there and the end of the next process."""
    for boundary in boundaries(trial, method, **arguments):
        trial.restore()
        trial.run(trial.message(method, **arguments), kill=boundary, **AGENT)
        kept = "".join(path.read_text() for path in trial.host.journal.iterdir())
        assert SECRET not in kept, boundary
        assert trial.run(**AGENT), boundary
        seen = trial.look()
        assert (seen["journal"], seen["task_state"], seen["vm_state"]) == ([], None, "active")
        yield boundary, seen, trial.ledger.read().get("guest", {})


def test_a_password_change_ends_with_a_clear_task_state(trial):
    """It succeeds; the password is nowhere on disk."""
    trial.set(task_state="updating_password")
    trial.keep()
    for boundary, seen, guest in killed_at_each(trial, "set_admin_password", new_pass=SECRET):
        assert (seen["faults"], guest["password"]) == (set(), ["root", SECRET]), boundary
        ends = {message for _, phase, message in seen["events"] if phase == "finish"}
        assert ends == {None}, boundary
    assert SECRET not in trial.lab.log.read_text()


def test_a_guest_does_not_stay_frozen(trial):
    """The caller was not answered and will not ask for the thaw."""
    trial.set(task_state=None)
    trial.keep()
    assert "hypervisor.freeze#1" in boundaries(trial, "quiesce_instance")
    assert trial.ledger.read()["guest"] == {"frozen": True}
    for boundary, seen, guest in killed_at_each(trial, "quiesce_instance"):
        answered = boundary in ("quiesce_instance:finished", "quiesce_instance:closed")
        assert guest.get("frozen", False) == answered, boundary
        assert (seen["events"], seen["faults"]) == (set(), set()), boundary


def test_a_guest_is_thawed_all_the_same(trial):
    """Unquiesce goes on where it was cut off."""
    trial.set(task_state=None)
    with trial.ledger.open() as content:
        content["guest"] = {"frozen": True}
    trial.keep()
    for boundary, _, guest in killed_at_each(trial, "unquiesce_instance", mapping=None):
        assert guest == {"frozen": False}, boundary
