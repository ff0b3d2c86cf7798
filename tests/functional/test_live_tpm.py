"""A server with an emulated TPM goes to another host while it runs: the TPM goes with it, and what
opens it is where it belongs, whatever is killed meanwhile. libvirt, QEMU and swtpm are real.
"""

from __future__ import annotations

import shutil

import pytest

from tests.functional import prepare
from tests.functional.live_ends import (
    POST,
    PRE,
    ROLLBACK,
    Boundaries,
    ends,
    refuse,
    sample,
    target_killed,
    trial,
)
from tests.functional.live_trial import LIVE, LiveTrial, Upset
from tests.functional.test_two_hosts import RUNS

__all__ = ["sample", "trial"]

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("swtpm") is None, reason="needs swtpm"),
]
NOTHING = (False, False, False)
# (its state is there, libvirt has a secret, which can be read)
THERE = {"host": (True, True, True), "deployment": (True, False, False)}


@pytest.fixture(scope="module", params=["host", "deployment"])
def booted(lab, request):
    """One that runs on host1; its user is not there any more."""
    made = lab.trial("host1", "host2", kind=LiveTrial)
    made.mode = request.param
    prepare.offer_tpm(made, request.param)
    prepare.boot(made)
    prepare.attach_read_only_volume(made)
    with made.ledger.open() as content:
        content["users_are_refused"] = True
    assert made.host.tpm.look() == THERE[made.mode], made.lab.said()
    made.get_ready()
    yield made
    made.stop()


def is_on(trial, *, lost=False):
    """The host that has all of it; the other one has nothing, and nobody told the passphrase."""
    host = ends(trial, lost=lost)
    other = {"host1": "host2", "host2": "host1"}[host]
    assert trial.hosts[host].tpm.look() == THERE[trial.mode], trial.lab.said()
    assert trial.hosts[other].tpm.look() == NOTHING, trial.lab.said()
    ((_, phrase),) = trial.ledger.read()["keys"].values()
    for path in trial.directory.glob("host*/**/*"):
        told = path.is_file() and phrase.encode() in path.read_bytes()
        assert not told, f"{path} has the passphrase"
    assert phrase not in trial.lab.log.read_text()
    return host


def fits(trial, host):
    """Whether what the TPM knows opens with what is on the host: the guest starts again."""
    trial.set(task_state="rebooting_hard")
    message = trial.message("reboot_instance", reboot_type="HARD", block_device_info=None)
    assert trial.delivered(host, message)
    seen = trial.look_everywhere()
    return (seen["vm_state"], seen["task_state"], seen[host]["domain"]) == ("active", None, RUNS)


@pytest.mark.core
def test_the_tpm_goes_with_its_server(trial):
    """And can be opened there by whoever starts the server."""
    assert trial.delivered("host1", trial.request)
    assert is_on(trial) == "host2"
    assert fits(trial, "host2")
    assert trial.hosts["host2"].tpm.look() == THERE[trial.mode]


def test_the_tpm_stays_with_its_server(trial):
    """Where libvirt refuses when everything is ready."""
    refuse(trial)
    assert trial.delivered("host1", trial.request)
    assert is_on(trial) == "host1"
    assert fits(trial, "host1")


@pytest.mark.parametrize("method", [LIVE, PRE, POST])
def test_an_agent_is_killed(trial, sample, method):
    """The next one goes on."""
    passed = Boundaries(trial, f"{trial.mode}-{method}", (LIVE, PRE, POST))
    assert trial.delivered("host1", trial.request, record=passed.file(LIVE))
    for boundary in sample(passed.of(method)):
        trial.restore()
        if method == LIVE:
            trial.kill(boundary)
            assert trial.delivered("host1")
            assert is_on(trial) == "host2", boundary
        else:
            target_killed(method, is_on)(trial, boundary)


@pytest.mark.parametrize("upset", ["set_tpm_secret#1", "unlock_arriving:begin", "rolls back"])
def test_the_target_forgets_what_does_not_come(trial, upset):
    """Its agent is killed while it prepares, or while it gives up; the guest does not come."""
    refuse(trial)
    boundary = {"set_tpm_secret#1": "hypervisor.set_tpm_secret#1",
                "unlock_arriving:begin": f"{PRE}:unlock_arriving:begin",
                "rolls back": f"{ROLLBACK}:release_arriving:begin"}[upset]  # fmt: skip
    method = ROLLBACK if upset == "rolls back" else PRE
    trial.upsets[method] = Upset(kill=boundary)
    assert trial.delivered("host1", trial.request)
    assert is_on(trial) == "host1"


@pytest.mark.parametrize("step", ["begin", "end"])
def test_the_power_of_the_target_fails(trial, step):
    """Before libvirt has the passphrase, or after: the server is whole on one host."""
    boundary = f"{PRE}:unlock_arriving:{step}"
    trial.upsets[PRE] = Upset(kill=boundary, power=True)
    assert trial.delivered("host1", trial.request)
    assert is_on(trial) in ("host1", "host2")
    if trial.mode == "host" and step == "begin":
        assert trial.migration()["status"] != "completed"
