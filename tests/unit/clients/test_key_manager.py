"""Keys of encrypted volumes: nova.conf's own, and Barbican's through the real castellan."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nova_lite import errors
from nova_lite.clients.key_manager import FIXED_KEY_ID, KeyManager
from nova_lite.clients.session import Sessions
from nova_lite.wire.context import RequestContext
from tests.fakes.conf_file import read_conf
from tests.fakes.http_cloud import Call, HttpCloud, Reply

KEY = bytes(range(32))
KEY_ID = "2b8f6f8e-1c6c-4c3a-9a55-0d4d5f6a7b8c"
CONF_KEYS = "nova.keymgr.conf_key_mgr.ConfKeyManager"
CONTEXT = RequestContext({"request_id": "req-1"})


def keys(folder: Path, **options: str) -> KeyManager:
    conf = read_conf(folder, {"key_manager": options})
    return KeyManager(Sessions(conf), conf)


@pytest.mark.parametrize("options", [{"backend": CONF_KEYS}, {}])
def test_the_fixed_key_opens_volumes_in_hex(tmp_path: Path, options: dict[str, str]) -> None:
    """As Cinder formats them; volumes from before a key manager keep it with another backend."""
    manager = keys(tmp_path, fixed_key=KEY.hex().upper(), **options)

    assert manager.passphrase(CONTEXT, FIXED_KEY_ID) == KEY.hex()


@pytest.mark.parametrize(
    ("options", "key_id"),
    [
        ({"backend": CONF_KEYS, "fixed_key": KEY.hex()}, KEY_ID),
        ({"backend": CONF_KEYS}, FIXED_KEY_ID),
        ({"backend": "barbican"}, FIXED_KEY_ID),
    ],
)
def test_a_key_that_nobody_has_says_what_to_set(
    tmp_path: Path, options: dict[str, str], key_id: str
) -> None:
    """The options and the key's id, but no key."""
    with pytest.raises(errors.VolumeKeyUnavailable, match="fixed_key") as caught:
        keys(tmp_path, **options).passphrase(CONTEXT, key_id)
    assert key_id in str(caught.value)
    assert KEY.hex() not in str(caught.value)


def test_a_fixed_key_that_is_no_key_is_not_repeated(tmp_path: Path) -> None:
    """It may be a key with a typing error."""
    with pytest.raises(errors.InvalidConfiguration) as caught:
        keys(tmp_path, fixed_key="abcdefgh").passphrase(CONTEXT, FIXED_KEY_ID)
    assert "abcdefgh" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


class Barbican:
    """Secrets of one user, the ``owner``; ``broken`` is answered instead."""

    def __init__(self, cloud: HttpCloud) -> None:
        self.cloud = cloud
        self.broken: int | None = None
        self.owner = "alice"
        self.stored: Any = None
        self.deleted: list[str] = []
        cloud.services["barbican"] = ("key-manager", self.answer)

    def answer(self, call: Call) -> Reply:
        if self.broken is not None:
            return Reply(self.broken, {"title": "no", "description": "broken"})
        if not call.path.strip("/"):
            link = {"rel": "self", "href": f"{self.cloud.url}/barbican/v1/"}
            microversions = {"min_version": "1.0", "max_version": "1.1"}
            version = {"id": "v1", "status": "CURRENT", "links": [link], **microversions}
            return Reply(300, {"versions": {"values": [version]}})
        if self.cloud.tokens[call.headers["X-Auth-Token"]] != self.owner:
            return Reply(403, {"title": "Forbidden", "description": "not yours"})
        if call.method == "POST":
            self.stored = call.body
            return Reply(201, {"secret_ref": f"{self.cloud.url}/barbican/v1/secrets/{KEY_ID}"})
        path = call.path.removeprefix("/v1/secrets/")
        if call.method == "DELETE":
            self.deleted.append(path)
            return Reply(204 if path == KEY_ID else 404, {"title": "gone"})
        if path == f"{KEY_ID}/payload":
            return Reply(200, KEY)
        if path == KEY_ID:
            return Reply(200, self.description)
        return Reply(404, {"title": "Not Found", "description": "no such secret"})

    @property
    def description(self) -> dict[str, Any]:
        return {
            "secret_ref": f"{self.cloud.url}/barbican/v1/secrets/{KEY_ID}",
            "secret_type": "symmetric",
            "status": "ACTIVE",
            "algorithm": "aes",
            "bit_length": 256,
            "mode": "cbc",
            "name": "volume",
            "content_types": {"default": "application/octet-stream"},
            "created": "2026-01-01T00:00:00",
            "updated": "2026-01-01T00:00:00",
        }


@pytest.fixture
def barbican() -> Iterator[Barbican]:
    cloud = HttpCloud()
    yield Barbican(cloud)
    cloud.close()


def of_barbican(barbican: Barbican, folder: Path, *, service_user: bool = True) -> KeyManager:
    conf = read_conf(
        folder,
        {
            "key_manager": {"backend": "barbican"},
            "barbican": {"auth_endpoint": barbican.cloud.auth_url},
            "cinder": barbican.cloud.credentials("cinder-nova"),
            **({"service_user": barbican.cloud.credentials("nova")} if service_user else {}),
        },
    )
    return KeyManager(Sessions(conf), conf)


def of_user(barbican: Barbican, name: str) -> RequestContext:
    barbican.cloud.tokens[f"token-{name}"] = name
    return RequestContext(
        {"auth_token": f"token-{name}", "user_id": name, "project_id": "p", "request_id": "req-1"}
    )


def test_barbican_is_asked_for_the_user(
    barbican: Barbican, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the token of the request; nothing logs the key."""
    caplog.set_level(logging.DEBUG)
    manager = of_barbican(barbican, tmp_path)

    assert manager.passphrase(of_user(barbican, "alice"), KEY_ID) == KEY.hex()
    assert {call.headers["X-Auth-Token"] for call in barbican.cloud.calls} == {"token-alice"}
    assert KEY.hex() not in caplog.text
    assert repr(KEY)[2:20] not in caplog.text


@pytest.mark.parametrize(
    ("user", "key_id", "expected"),
    [
        ("mallory", KEY_ID, errors.VolumeKeyUnavailable),
        ("alice", KEY_ID.replace("2", "3"), errors.VolumeKeyUnavailable),
    ],
)
def test_what_the_user_may_not_have_he_does_not_get(
    barbican: Barbican, tmp_path: Path, user: str, key_id: str, expected: type[Exception]
) -> None:
    """Another's key and one that is not there end the same way, and name the key."""
    with pytest.raises(expected, match=key_id):
        of_barbican(barbican, tmp_path).passphrase(of_user(barbican, user), key_id)


@pytest.mark.parametrize("broken", [500, 503])
def test_a_key_manager_that_is_away_is_waited_for(
    barbican: Barbican, tmp_path: Path, broken: int
) -> None:
    """That is nothing the user did."""
    manager = of_barbican(barbican, tmp_path)
    barbican.broken = broken
    with pytest.raises(errors.ControlPlaneUnavailable):
        manager.passphrase(of_user(barbican, "alice"), KEY_ID)


def test_a_passphrase_is_kept_for_the_user(
    barbican: Barbican, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the token of the request, under a name that tells what it is for; nothing logs it."""
    caplog.set_level(logging.DEBUG)
    manager, alice = of_barbican(barbican, tmp_path), of_user(barbican, "alice")

    assert manager.create(alice, "vTPM secret for instance s1") == KEY_ID
    assert barbican.stored["name"] == "vTPM secret for instance s1"
    assert barbican.stored["secret_type"] == "passphrase"
    assert barbican.stored["payload"] not in caplog.text
    assert {call.headers["X-Auth-Token"] for call in barbican.cloud.calls} == {"token-alice"}
    assert manager.secret(alice, KEY_ID) == KEY
    assert repr(KEY)[2:20] not in caplog.text


def test_a_passphrase_is_never_the_agents(barbican: Barbican, tmp_path: Path) -> None:
    """A request without a token gets none, and is not served with the agent's rights."""
    manager = of_barbican(barbican, tmp_path)
    for ask in (
        lambda: manager.create(CONTEXT, "vTPM"),
        lambda: manager.secret(CONTEXT, KEY_ID),
        lambda: manager.delete(CONTEXT, KEY_ID),
    ):
        with pytest.raises(errors.RequestTokenExpired):
            ask()
    assert (barbican.stored, barbican.deleted) == (None, [])


def test_a_passphrase_of_the_compute_service_needs_no_user(
    barbican: Barbican, tmp_path: Path
) -> None:
    """It is that of [service_user]: a request's user may neither read nor delete it."""
    barbican.owner = "nova"
    manager, alice = of_barbican(barbican, tmp_path), of_user(barbican, "alice")

    assert manager.create(CONTEXT, "vTPM", own=True) == KEY_ID
    assert manager.secret(alice, KEY_ID, own=True) == KEY
    for ask in (manager.secret, manager.delete):
        with pytest.raises(errors.VolumeKeyUnavailable):
            ask(alice, KEY_ID)
    manager.delete(CONTEXT, KEY_ID, own=True)
    assert barbican.deleted == [KEY_ID]


def test_a_passphrase_of_the_compute_service_is_of_one_user(
    barbican: Barbican, tmp_path: Path
) -> None:
    """Another one, as of a group that lends its credentials elsewhere, could not share it with the
    other hosts."""
    barbican.owner = "cinder-nova"
    manager = of_barbican(barbican, tmp_path, service_user=False)

    with pytest.raises(errors.CredentialsInvalid, match="service_user"):
        manager.create(CONTEXT, "vTPM", own=True)
    assert barbican.cloud.calls == []


def test_a_passphrase_is_deleted_once(barbican: Barbican, tmp_path: Path) -> None:
    """One that is gone already is no trouble; another user's is."""
    manager, alice = of_barbican(barbican, tmp_path), of_user(barbican, "alice")

    manager.delete(alice, KEY_ID)
    manager.delete(alice, KEY_ID.replace("2", "3"))
    assert barbican.deleted == [KEY_ID]
    with pytest.raises(errors.VolumeKeyUnavailable):
        manager.delete(of_user(barbican, "mallory"), KEY_ID)


def test_without_a_key_manager_no_passphrase_is_made(tmp_path: Path) -> None:
    """The fixed key is for volumes; a TPM's key belongs to a user."""
    with pytest.raises(errors.VolumeKeyUnavailable, match="barbican or vault"):
        keys(tmp_path, backend=CONF_KEYS, fixed_key=KEY.hex()).create(CONTEXT, "a TPM's")


@pytest.mark.parametrize("broken", [500, 503])
def test_a_key_manager_that_takes_nothing_is_waited_for(
    barbican: Barbican, tmp_path: Path, broken: int
) -> None:
    """That is nothing the user did."""
    manager = of_barbican(barbican, tmp_path)
    barbican.broken = broken
    with pytest.raises(errors.ControlPlaneUnavailable):
        manager.create(of_user(barbican, "alice"), "a TPM's")
