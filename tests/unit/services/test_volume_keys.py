"""Passphrases of encrypted volumes: asked for once, kept by the hypervisor, dropped in the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nova_lite.clients.key_manager import FIXED_KEY_ID, KeyManager
from nova_lite.drivers.volume import luks
from nova_lite.errors import DiskError, VolumeEncryptionUnsupported
from nova_lite.model.volume import Connection
from nova_lite.services import volume_keys
from nova_lite.wire.context import RequestContext
from tests.fakes.hypervisor import FakeHypervisor

VOLUME = "8c7a40c1-88f9-4314-ab58-6448eb8cdb00"
KEY = "ab" * 32
ENCRYPTED = Connection("rbd", VOLUME, {"encrypted": True})


def work_with(provider: str = "luks") -> Any:
    """An operation on a host whose nova.conf has Cinder's fixed key."""
    asked: list[str] = []

    def encryption(context: RequestContext, volume_id: str) -> dict[str, Any]:
        asked.append(volume_id)
        return {"encryption_key_id": FIXED_KEY_ID, "provider": provider}

    options = SimpleNamespace(fixed_key=KEY, backend="barbican")
    tools = SimpleNamespace(
        hypervisor=FakeHypervisor(),
        cinder=SimpleNamespace(encryption=encryption),
        keys=KeyManager(None, SimpleNamespace(key_manager=options)),  # type: ignore[arg-type]
    )
    return SimpleNamespace(tools=tools, context=RequestContext({}), asked=asked)


@pytest.mark.parametrize("provider", ["luks", "nova.volume.encryptors.luks.LuksEncryptor"])
def test_the_hypervisor_holds_what_opens_the_volume(provider: str) -> None:
    """Nobody is asked again while it does; after the volume has gone it does not."""
    work = work_with(provider)
    volume_keys.unlock(work, ENCRYPTED)
    volume_keys.unlock(work, ENCRYPTED)

    uuid, passphrase = work.tools.hypervisor.secrets[VOLUME]
    assert (passphrase, volume_keys.secret_uuid(work, ENCRYPTED)) == (KEY, uuid)
    assert work.asked == [VOLUME]
    volume_keys.forget(work, ENCRYPTED)
    assert volume_keys.secret_uuid(work, ENCRYPTED) is None


def test_a_plain_volume_needs_nothing() -> None:
    """Neither Cinder nor the hypervisor hears of it."""
    work = work_with()
    plain = Connection("rbd", VOLUME, {"encrypted": False})
    volume_keys.unlock(work, plain)
    volume_keys.forget(work, plain)

    assert volume_keys.secret_uuid(work, plain) is None
    assert (work.asked, work.tools.hypervisor.calls) == ([], [])


@pytest.mark.parametrize("provider", ["luks2", "plain", "None"])
def test_what_qemu_cannot_open_is_refused_by_name(provider: str) -> None:
    """Before any key is asked for."""
    work = work_with(provider)
    with pytest.raises(VolumeEncryptionUnsupported, match=provider):
        volume_keys.unlock(work, ENCRYPTED)
    assert work.tools.hypervisor.secrets == {}


def test_a_device_with_luks_is_left_alone(tmp_path) -> None:
    """What an empty one gets is shown in tests/functional/volume/test_luks.py."""
    device = tmp_path / "device"
    device.write_bytes(luks.MAGIC + b"anything")
    work = work_with()
    volume_keys.unlock(
        work, Connection("iscsi", VOLUME, {"encrypted": True, "device_path": str(device)})
    )

    assert device.read_bytes() == luks.MAGIC + b"anything"
    assert work.tools.hypervisor.secrets[VOLUME][1] == KEY


def test_a_device_that_cannot_be_written_is_named(tmp_path) -> None:
    with pytest.raises(DiskError, match="nothing here"):
        luks.formatted(str(tmp_path / "nothing here"))
