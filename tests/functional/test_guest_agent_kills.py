"""kill -9 around what is asked of the agent in a guest: its ends differ from those without a kill.

A password is not on disk, so a change that was cut off fails; a guest whose freeze was cut off is
thawed, because whoever asked for it does not know of it.
"""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(300)]

SECRET = "hush-Korrekt-Pferd"
AGENT = {"guest_agent": True}


@pytest.fixture
def host(lab):
    """A running server with a guest agent."""
    made = lab.host()
    made.boot()
    stored = made.conductor.instance(made.server)["system_metadata"]
    made.set(system_metadata={**stored, "image_hw_qemu_guest_agent": "yes"})
    yield made
    made.clear()


def boundaries(host, method, **arguments):
    """What is passed when nobody disturbs it."""
    host.restore()
    record = host.lab.directory / "boundaries"
    record.unlink(missing_ok=True)
    assert host.run(host.message(method, **arguments), record=str(record), **AGENT)
    return record.read_text().splitlines()


def killed_at_each(host, method, **arguments):
    """(boundary, look, guest) after a kill there and the end of the next process."""
    for boundary in boundaries(host, method, **arguments):
        host.restore()
        host.run(host.message(method, **arguments), kill=boundary, **AGENT)
        kept = "".join(path.read_text() for path in host.journal.iterdir())
        assert SECRET not in kept, boundary
        assert host.run(**AGENT), boundary
        seen = host.look()
        assert (seen["journal"], seen["task_state"], seen["vm_state"]) == ([], None, "active")
        yield boundary, seen, host.ledger.read().get("guest", {})


def test_a_password_change_ends_with_a_clear_task_state(host):
    """It has succeeded, or its user is told that it has not; the password is nowhere on disk."""
    host.set(task_state="updating_password")
    host.keep()
    outcomes = set()
    for boundary, seen, guest in killed_at_each(host, "set_admin_password", new_pass=SECRET):
        failed = bool(seen["faults"])
        if not failed:
            assert guest["password"] == ["root", SECRET], boundary
        ends = {message for _, phase, message in seen["events"] if phase == "finish"}
        assert len(ends) == 1 and (ends == {None}) != failed, boundary
        outcomes.add(failed)
    assert outcomes == {True, False}
    assert SECRET not in host.lab.log.read_text()


def test_a_guest_does_not_stay_frozen(host):
    """The caller was not answered and will not ask for the thaw."""
    host.set(task_state=None)
    host.keep()
    assert "hypervisor.freeze#1" in boundaries(host, "quiesce_instance")
    assert host.ledger.read()["guest"] == {"frozen": True}
    for boundary, seen, guest in killed_at_each(host, "quiesce_instance"):
        answered = boundary == "quiesce_instance:closed"
        assert guest.get("frozen", False) == answered, boundary
        assert (seen["events"], seen["faults"]) == (set(), set()), boundary


def test_a_guest_is_thawed_all_the_same(host):
    """Unquiesce goes on where it was cut off."""
    host.set(task_state=None)
    with host.ledger.open() as content:
        content["guest"] = {"frozen": True}
    host.keep()
    for boundary, _, guest in killed_at_each(host, "unquiesce_instance", mapping=None):
        assert guest == {"frozen": False}, boundary
