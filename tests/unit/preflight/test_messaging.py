from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import amqp
import pytest

from nova_lite.errors import HypervisorUnavailable
from nova_lite.preflight import messaging
from nova_lite.preflight.base import Status
from nova_lite.preflight.env import Env
from nova_lite.wire.objects import WireObject

UUID = "8e5d3b6d-78d6-44bd-af08-700ae4892a12"


def service(host: str, version: int) -> WireObject:
    found = WireObject.new("Service", "1.22")
    found.set(host=host, version=version)
    return found


class Records:
    """A conductor that knows one cell."""

    def __init__(self, *, control_plane: int | None = 74, floor: int = 74) -> None:
        self.control_plane = control_plane
        self.floor = floor
        self.service: WireObject | None = None
        self.nodes: list[WireObject] = []

    def class_call(self, context: object, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "Service.get_minimum_version":
            return self.floor
        if method == "Service.get_by_host_and_binary":
            return self.service
        if method == "ServiceList.get_by_binary":
            number = self.control_plane
            rows = [service("conductor", number)] if number else []
            return WireObject.new("ServiceList", "1.19", objects=rows)
        if method == "ComputeNodeList.get_all_by_uuids":
            rows = [node for node in self.nodes if node["uuid"] in args[0]]
            return WireObject.new("ComputeNodeList", "1.17", objects=rows)
        assert method == "ComputeNodeList.get_all_by_host"
        return WireObject.new("ComputeNodeList", "1.17", objects=self.nodes)

    def join(self, host: str, hypervisor: str = "node1.example") -> None:
        self.service = service(host, 74)
        self.nodes = [
            WireObject.new(
                "ComputeNode", "1.19", uuid=UUID, host=host, hypervisor_hostname=hypervisor
            )
        ]


def env(tmp_path: Path, records: Records, *, configured: int | None = None) -> Any:
    conf = SimpleNamespace(
        host="node1",
        state_path=str(tmp_path),
        config_file=[],
        nova_lite=SimpleNamespace(service_version=configured),
    )
    driver = SimpleNamespace(facts=lambda: SimpleNamespace(hostname="node1.example"))
    return SimpleNamespace(conf=conf, conductor=records, hypervisor=driver)


@pytest.mark.parametrize(
    ("control_plane", "floor", "configured", "status", "says"),
    [
        (74, 74, None, Status.OK, "report 74"),
        (68, 0, None, Status.OK, "report 68"),
        (None, 0, None, Status.OK, "control plane unknown"),
        (80, 74, None, Status.WARNING, "control plane 80"),
        (80, 80, None, Status.FAILURE, "80"),
        (74, 74, 68, Status.FAILURE, "service_version"),
    ],
)
def test_the_service_version_must_fit_the_cell(
    tmp_path: Path,
    control_plane: int | None,
    floor: int,
    configured: int | None,
    status: Status,
    says: str,
) -> None:
    """A version below the lowest of the cell is refused by the conductor; say it before."""
    records = Records(control_plane=control_plane, floor=floor)

    found = messaging.SERVICE_VERSION.look(env(tmp_path, records, configured=configured))

    assert found.status is status
    assert says in found.message
    assert found.remedy or status is Status.OK


def test_a_new_host_is_welcome(tmp_path: Path) -> None:
    """Neither a file nor a record; nothing is written."""
    found = messaging.IDENTITY.look(env(tmp_path, Records()))

    assert found.status is Status.OK
    assert "new to the cloud" in found.message
    assert list(tmp_path.iterdir()) == []


def test_a_known_host_is_recognised(tmp_path: Path) -> None:
    """File, Service and ComputeNode agree; a hypervisor that is down does not matter here."""
    records = Records()
    records.join("node1")
    (tmp_path / "compute_id").write_text(UUID)
    given = env(tmp_path, records)
    assert messaging.IDENTITY.look(given).status is Status.OK

    def down() -> None:
        raise HypervisorUnavailable("down")

    given.hypervisor.facts = down
    assert messaging.IDENTITY.look(given).status is Status.OK


@pytest.mark.parametrize(
    ("host", "hypervisor", "says"),
    [
        ("node2", "node1.example", "belongs to host 'node2'"),
        ("node1", "old-name", "hypervisor 'old-name', libvirt says 'node1.example'"),
    ],
)
def test_a_wrong_identity_is_a_failure(
    tmp_path: Path, host: str, hypervisor: str, says: str
) -> None:
    """A copied file or a renamed machine."""
    records = Records()
    records.join(host, hypervisor)
    (tmp_path / "compute_id").write_text(UUID)

    found = messaging.IDENTITY.look(env(tmp_path, records))

    assert found.status is Status.FAILURE
    assert says in found.message


def test_a_lost_compute_id_comes_with_its_uuid(tmp_path: Path) -> None:
    """So that the operator can write it again."""
    records = Records()
    records.join("node1")

    found = messaging.IDENTITY.look(env(tmp_path, records))

    assert found.status is Status.FAILURE
    assert UUID in found.remedy
    assert str(tmp_path / "compute_id") in found.remedy


def test_a_foreign_compute_id_is_doubted(tmp_path: Path) -> None:
    """The host is known, the uuid is not."""
    records = Records()
    records.join("node1")
    records.nodes = []
    (tmp_path / "compute_id").write_text(UUID)

    assert messaging.IDENTITY.look(env(tmp_path, records)).status is Status.WARNING


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Brokers by address; a login raises what stands there."""
    troubles: dict[str, Exception] = {}

    class Connection:
        def __init__(self, address: str, **options: Any) -> None:
            assert options["connect_timeout"] > 0 and options["read_timeout"] > 0
            self._address = address

        def connect(self) -> None:
            if self._address in troubles:
                raise troubles[self._address]

        def close(self) -> None:
            pass

    monkeypatch.setattr(amqp, "Connection", Connection)
    return troubles


def real_env(url: str) -> Env:
    from oslo_config import cfg

    from nova_lite import conf as options

    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    conf([], default_config_files=[])
    given = Env(conf)
    _ = given.transport  # registers transport_url
    conf.set_override("transport_url", url)
    return given


URL = "rabbit://me:hush1@one:5672,me:hush2@[fe80::1]:5673/cell"


def test_every_broker_is_tried(brokers: dict[str, Exception]) -> None:
    """One that is down is a warning as long as another is there."""
    found = messaging.AMQP.look(real_env(URL))
    assert found.status is Status.OK
    assert "one:5672" in found.message

    brokers["[fe80::1]:5673"] = ConnectionRefusedError(111, "Connection refused")
    found = messaging.AMQP.look(real_env(URL))
    assert found.status is Status.WARNING
    assert "fe80::1:5673 does not answer: [Errno 111] Connection refused" in found.message

    brokers["one:5672"] = amqp.exceptions.AccessRefused("no")
    found = messaging.AMQP.look(real_env(URL))
    assert found.status is Status.FAILURE
    assert "one:5672 refuses user 'me'" in found.message


def test_a_wrong_virtual_host_is_named(brokers: dict[str, Exception]) -> None:
    """The user exists, but not for this cell."""
    for address in ("one:5672", "[fe80::1]:5673"):
        brokers[address] = amqp.exceptions.NotAllowed("vhost cell not found")

    found = messaging.AMQP.look(real_env(URL))
    assert "does not let user 'me' into virtual host 'cell'" in found.message


def test_passwords_of_the_transport_are_hidden() -> None:
    """All of them, in whatever text."""
    text = real_env(URL).hide(f"cannot connect to {URL}")

    assert "hush" not in text
    assert "me:***@one" in text
