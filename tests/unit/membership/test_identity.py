"""compute_id files."""

from __future__ import annotations

import pytest

from nova_lite.errors import HostIdentityError
from nova_lite.membership import identity

UUID = "7b8a4b1e-6d2f-4f8b-9f43-0d9d4c6f9a10"
OTHER = "11111111-6d2f-4f8b-9f43-0d9d4c6f9a10"


def test_what_was_written_is_read(tmp_path):
    """The file that one start writes is the next start's identity."""
    identity.write(tmp_path / "state", UUID)

    assert identity.read([tmp_path, tmp_path / "state"]) == UUID


def test_no_file_is_no_identity(tmp_path):
    """A new host has none."""
    assert identity.read([tmp_path]) is None


def test_files_that_disagree_are_refused(tmp_path):
    """Guessing would put the servers' books under the wrong host."""
    identity.write(tmp_path / "a", UUID)
    identity.write(tmp_path / "b", OTHER)

    with pytest.raises(HostIdentityError, match="different hosts"):
        identity.read([tmp_path / "a", tmp_path / "b"])


def test_a_file_without_a_uuid_is_refused(tmp_path):
    """The path and the remedy are named."""
    (tmp_path / "compute_id").write_text("node1")

    with pytest.raises(HostIdentityError, match="compute_id does not hold a uuid"):
        identity.read([tmp_path])
