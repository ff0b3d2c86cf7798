"""The state of a TPM, copied out of libvirt's directory and into it."""

from __future__ import annotations

import pytest

from nova_lite.drivers.hypervisor.libvirt.tpm_state import copy_in, copy_out
from nova_lite.errors import HypervisorError

UUID = "3b0f1c3e-0000-4000-8000-000000000001"


@pytest.fixture
def states(tmp_path):
    made = tmp_path / "swtpm"
    (made / UUID / "tpm2").mkdir(parents=True)
    (made / UUID / "tpm2" / "tpm2-00.permall").write_bytes(b"state")
    return made


def test_a_state_goes_out_and_comes_in(states, tmp_path):
    """Each may be repeated; what was there before is gone."""
    out, other = tmp_path / "out", tmp_path / "other"
    for _ in range(2):
        assert copy_out(UUID, out, states)
    (other / UUID).mkdir(parents=True)
    (other / UUID / "old").touch()

    for _ in range(2):
        copy_in(UUID, out, "root", "root", other)

    found = sorted(str(path.relative_to(other / UUID)) for path in (other / UUID).rglob("*"))
    assert found == ["tpm2", "tpm2/tpm2-00.permall"]
    assert (other / UUID / "tpm2" / "tpm2-00.permall").read_bytes() == b"state"
    assert [path.name for path in other.iterdir()] == [UUID]


def test_what_a_killed_agent_left_is_replaced(states, tmp_path):
    """A directory that has its name is whole."""
    (tmp_path / "out.part" / "half").mkdir(parents=True)

    assert copy_out(UUID, tmp_path / "out", states)

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tpm2"]


def test_a_guest_without_tpm_has_no_state(states, tmp_path):
    """Nothing is made of it."""
    assert not copy_out("another", tmp_path / "out", states)
    assert not (tmp_path / "out").exists()


def test_a_user_who_is_not_there_is_named(states, tmp_path, monkeypatch):
    """With the options to set."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(HypervisorError, match="swtpm_user"):
        copy_in(UUID, states / UUID, "nobody-of-this-name", "root", tmp_path / "other")
