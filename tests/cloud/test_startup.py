"""A host that joins, with everything that can be wrong: said clearly, waited for or refused.

The hosts here are processes beside those of the cloud, each with a libvirtd of its own; what the
cloud knows of them is deleted again.
"""

from __future__ import annotations

import re
import shutil
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cloud.support.devcloud import wait_for
from tests.cloud.support.extra_agent import ExtraAgent, providers, remove_host, services
from tests.cloud.support.raw_amqp import RawAmqp
from tests.fakes.certificates import Authority
from tests.fakes.private_libvirtd import PrivateLibvirtd, missing
from tests.fakes.tcp_forwarder import TcpForwarder

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

HOST = "badnode1"


@pytest.fixture(scope="module")
def libvirtd() -> Iterator[PrivateLibvirtd]:
    if reason := missing():
        pytest.skip(f"private libvirtd: {reason}")
    # The path of a Unix socket may be 107 bytes long: stay near the top.
    with tempfile.TemporaryDirectory(prefix="nlt", ignore_cleanup_errors=True) as directory:
        daemon = PrivateLibvirtd(Path(directory))
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def new_agent(cloud, api, node, tmp_path) -> Iterator[Callable[..., ExtraAgent]]:
    """Makes agents of hosts that nobody knows, and takes every trace of them away."""
    agents: list[ExtraAgent] = []

    def make(host: str = HOST, **options: dict[str, str]) -> ExtraAgent:
        directory = tmp_path / f"agent{len(agents)}"
        directory.mkdir()
        agent = ExtraAgent(cloud, node, host, directory)
        agent.configure(options)
        agents.append(agent)
        return agent

    yield make
    for agent in agents:
        agent.kill()
    for host in {agent.host for agent in agents}:
        remove_host(api, host)
    left = [provider for agent in agents for provider in providers(api, agent.state)]
    assert not left, "resource providers are left"
    secrets = set(cloud.secrets().values()) - {""}
    for agent in agents:
        assert not [secret for secret in secrets if secret in agent.log()], "a secret was logged"


@pytest.fixture
def agent(new_agent, libvirtd) -> ExtraAgent:
    """One that can join."""
    return new_agent(libvirt={"connection_uri": libvirtd.uri})


@pytest.fixture
def broker(cloud, node) -> Iterator[TcpForwarder]:
    """Another port of the broker, shut."""
    url = urlsplit(cloud.setting(node, "transport_url", ""))
    forwarder = TcpForwarder((str(url.hostname), url.port or 5672))
    yield forwarder
    forwarder.shut()


def through(agent: ExtraAgent, broker: TcpForwarder) -> dict[str, str]:
    """[DEFAULT] of an agent whose broker is behind the forwarder."""
    url = urlsplit(agent.transport_url)
    netloc = f"{url.username}:{url.password}@127.0.0.1:{broker.port}"
    return {"transport_url": url._replace(netloc=netloc).geturl()}


# --- configuration that can never work ---------------------------------------------------------

REFUSED = {
    "virt_type": ("libvirt", "virt_type", "xen", r"\[libvirt\]virt_type .*Valid values"),
    "driver": ("DEFAULT", "compute_driver", "vmwareapi.VMwareVCDriver",
               r"\[DEFAULT\]compute_driver is .*use libvirt.LibvirtDriver"),
    "cpus": ("compute", "cpu_shared_set", "abc", r"\[compute\] cpu_shared_set: 'abc'"),
    "number": ("DEFAULT", "report_interval", "ten", r"\[DEFAULT\]report_interval .*'ten'"),
    "address": ("DEFAULT", "my_ip", "nobody.invalid", r"\[DEFAULT\]my_ip is 'nobody.invalid'"),
    "disks": ("libvirt", "images_type", "lvm", r"\[libvirt\]images_type=lvm .*use one of"),
    "pci": ("pci", "device_spec", '{"vendor_id": "8086"}',
            r"\[pci\]device_spec in .*nova.conf is refused: .*run nova-compute on this host"),
    "memcached": ("DEFAULT", "servicegroup_driver", "mc",
                  r"\[DEFAULT\]servicegroup_driver .*set servicegroup_driver = db"),
    "relative": ("DEFAULT", "state_path", "var/nova", r"\[DEFAULT\]state_path .*absolute path"),
    "no-disk": ("DEFAULT", "state_path", "/proc/nova", r"/proc/nova/.*check \[DEFAULT\]state_path"),
    "url": ("DEFAULT", "transport_url", "rabbit://me:hush/hush@127.0.0.1:5672/",
            r"\[DEFAULT\]transport_url cannot be read; it is like rabbit://"),
    "scheme": ("DEFAULT", "transport_url", "zebra://me:hush@127.0.0.1/",
               r"\[DEFAULT\]transport_url asks for the driver 'zebra'"),
}  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_value_ends_it_at_once(new_agent, api, case):
    """Exit code 1, one line that names option and remedy, and no record of the host."""
    group, name, value, line = REFUSED[case]
    agent = new_agent(**{group: {name: value}})
    began = time.monotonic()
    agent.start()
    assert agent.exit_code(10) == 1
    took = time.monotonic() - began
    said = [text for text in agent.log().splitlines() if text.startswith("nova-lite-compute: ")]
    assert len(said) == 1, agent.log()
    assert re.search(line, said[0])
    assert "Traceback" not in agent.log()
    assert "hush" not in agent.log()
    assert took < 5, f"{took:.1f} s; about half a second on a machine with nothing else to do"
    assert services(api, HOST) == []


def test_a_file_that_is_not_there(new_agent):
    """As of a typing error on the command line."""
    agent = new_agent()
    (agent.directory / "nova.conf").unlink()
    agent.start()
    assert agent.exit_code(10) == 1
    assert "nova.conf" in agent.log() and "Traceback" not in agent.log()


def test_a_read_only_state_path(new_agent):
    """Found at start, not with the first message."""
    agent = new_agent()
    agent.state.mkdir()
    agent.spawn("unshare", "--mount", "sh", "-c",
                f'mount -t tmpfs -o ro tmpfs {agent.state} && exec "$@"', "sh")  # fmt: skip
    assert agent.exit_code(10) == 1
    assert re.search(r"nova-lite-compute: .*Read-only file system.*state_path", agent.log())


# --- what may come later -----------------------------------------------------------------------


@pytest.mark.core
def test_a_broker_that_comes_later(agent, broker, api):
    """Named with its address, waited for, and the host joins by itself."""
    agent.configure_more(DEFAULT=through(agent, broker))
    agent.start()
    agent.wait_log(rf"Waiting for the message broker: .*127.0.0.1:{broker.port} does not answer")
    assert agent.alive
    broker.open()
    agent.wait_up()
    (service,) = services(api, HOST)
    assert service["state"] == "up"
    assert agent.stop() == 0


@pytest.fixture
def tls_broker(cloud, node, tmp_path) -> Iterator[tuple[TcpForwarder, Authority]]:
    """The broker behind TLS that lets in only who has a certificate of the authority."""
    authority = Authority(tmp_path / "authority")
    own = authority.sign("broker", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    url = urlsplit(cloud.setting(node, "transport_url", ""))
    forwarder = TcpForwarder((str(url.hostname), url.port or 5672), context)
    forwarder.open()
    yield forwarder, authority
    forwarder.shut()


def test_a_broker_with_tls_and_client_certificates(agent, tls_broker, api):
    """Without a certificate it says which options to look at; with one the host joins."""
    forwarder, authority = tls_broker
    trust = {"ssl": "true", "ssl_ca_file": str(authority.file)}
    agent.configure_more(DEFAULT=through(agent, forwarder), oslo_messaging_rabbit=trust)
    agent.start()
    agent.wait_log("Waiting for the message broker: .*ssl_cert_file")
    assert agent.stop() == 0
    own = authority.sign("compute")
    files = {"ssl_cert_file": str(own.certificate), "ssl_key_file": str(own.key)}
    agent.configure_more(oslo_messaging_rabbit=files)
    agent.start()
    agent.wait_up()
    (service,) = services(api, HOST)
    assert service["state"] == "up"
    assert agent.stop() == 0


def test_a_host_that_waits_can_be_stopped(new_agent, broker):
    """SIGTERM ends the waiting, whatever a library waits for: a clean stop."""
    agent = new_agent()
    agent.configure_more(DEFAULT=through(agent, broker))
    agent.start()
    agent.wait_log("Waiting for the message broker")
    assert agent.stop(10) == 0
    assert "Stopped while waiting for the message broker" in agent.log()


def test_a_broker_that_says_nothing(new_agent, tmp_path):
    """A firewall that swallows everything: named, and stoppable."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        agent = new_agent()
        url = urlsplit(agent.transport_url)
        netloc = f"{url.username}:{url.password}@127.0.0.1:{port}"
        agent.configure_more(DEFAULT={"transport_url": url._replace(netloc=netloc).geturl()})
        agent.start()
        agent.wait_log(rf"127.0.0.1:{port} does not answer within 5 s", 20)
        assert agent.stop(10) == 0


def test_a_wrong_password_of_the_broker(new_agent):
    """The user is named, the password never."""
    agent = new_agent()
    url = urlsplit(agent.transport_url)
    netloc = f"{url.username}:hush-hush@{url.hostname}:{url.port}"
    agent.configure_more(DEFAULT={"transport_url": url._replace(netloc=netloc).geturl()})
    agent.start()
    agent.wait_log(rf"Waiting for the message broker: .*refuses user '{url.username}'; check "
                   r"\[DEFAULT\]transport_url")  # fmt: skip
    assert agent.stop(10) == 0
    assert "hush-hush" not in agent.log()
    assert "Traceback" not in agent.log()


def test_a_wrong_virtual_host(new_agent):
    """The third thing that may be wrong about a broker."""
    agent = new_agent()
    url = urlsplit(agent.transport_url)
    agent.configure_more(DEFAULT={"transport_url": url._replace(path="/elsewhere").geturl()})
    agent.start()
    agent.wait_log(r"does not let user '\w+' into virtual host 'elsewhere'")
    assert agent.stop(10) == 0


def test_no_conductor(new_agent):
    """Another exchange: the broker is there, and nobody listens."""
    agent = new_agent(DEFAULT={"control_exchange": "none"})
    agent.start()
    agent.wait_log(r"Waiting for nova-conductor: .*check that nova-conductor runs", 40)
    assert agent.stop(20) == 0


def test_a_libvirtd_that_comes_later(new_agent, api):
    """The socket is named; when it is there, the host joins."""
    if reason := missing():
        pytest.skip(f"private libvirtd: {reason}")
    directory = Path(tempfile.mkdtemp(prefix="nlt"))
    daemon = PrivateLibvirtd(directory)
    agent = new_agent(libvirt={"connection_uri": daemon.uri})
    try:
        agent.start()
        agent.wait_log(r"Waiting for the hypervisor: .*libvirt-sock.*is libvirtd .*running")
        assert services(api, HOST) == [], "a host without a hypervisor must not appear"
        daemon.start()
        agent.wait_up()
        assert agent.stop() == 0
    finally:
        agent.kill()
        daemon.stop()
        shutil.rmtree(directory, ignore_errors=True)


def test_a_wrong_password_of_keystone(agent, api):
    """The group of nova.conf is named; mending it needs no more than a restart."""
    agent.configure_more(placement={"password": "hush-hush"})
    agent.start()
    line = agent.wait_log(r"Waiting for Placement: ")
    assert "Keystone refuses the credentials of [placement]" in line
    assert "check username, password" in line
    assert services(api, HOST) == [], "nova-api cannot delete a host without a provider"
    assert agent.stop() == 0
    assert "hush-hush" not in agent.log()


def test_a_keystone_that_is_away(agent):
    """Nobody answers at auth_url: waited for, by name."""
    agent.configure_more(placement={"auth_url": "http://127.0.0.1:9/v3"})
    agent.start()
    line = agent.wait_log(r"Waiting for Placement: .*", 40)
    assert "[placement]" in line and "127.0.0.1:9" in line
    assert agent.stop(20) == 0


def test_a_placement_that_is_away(agent, api):
    """The endpoint leads nowhere."""
    agent.configure_more(placement={"endpoint_override": "http://127.0.0.1:9"})
    agent.start()
    line = agent.wait_log(r"Waiting for Placement: .*", 40)
    assert "Placement" in line.partition("for Placement: ")[2]
    assert services(api, HOST) == []
    assert agent.stop(20) == 0


# --- who this host is --------------------------------------------------------------------------


def test_a_renamed_host(agent, api):
    """compute_id belongs to another name: refused with both names, and nothing is made."""
    agent.start()
    agent.wait_up()
    assert agent.stop() == 0
    agent.configure_more(DEFAULT={"host": "badnode2"})
    since = agent.mark()
    agent.start()
    assert agent.exit_code(20) == 1
    said = agent.log()[since:]
    assert re.search(r"nova-lite-compute: compute_id .* belongs to host 'badnode1', but "
                     r"\[DEFAULT\]host is 'badnode2'; set it back", said)  # fmt: skip
    assert services(api, "badnode2") == []


@pytest.mark.core
def test_a_lost_compute_id(agent, api):
    """Not made anew: the books of the host's servers hang on it; the right uuid is told."""
    agent.start()
    agent.wait_up()
    assert agent.stop() == 0
    path = agent.state / "compute_id"
    uuid = path.read_text()
    path.unlink()
    since = agent.mark()
    agent.start()
    assert agent.exit_code(20) == 1
    assert re.search(rf"'badnode1' is known .* lost; write its uuid \({uuid}\) to {path}",
                     agent.log()[since:])  # fmt: skip
    assert not path.exists()
    path.write_text(uuid)
    since = agent.mark()
    agent.start()
    agent.wait_up(since=since)
    assert agent.stop() == 0


def test_a_compute_id_that_is_none(agent):
    """Whoever wrote it is told what belongs there."""
    agent.state.mkdir()
    (agent.state / "compute_id").write_text("me\n")
    agent.start()
    assert agent.exit_code(20) == 1
    assert re.search(r"compute_id does not hold a uuid; put back", agent.log())


# --- the Service record goes away ----------------------------------------------------------------


def test_a_service_that_is_deleted_under_a_running_agent(agent, api):
    """Its heartbeat says so and what to do; it does not come back by itself; a restart joins."""
    agent.configure_more(DEFAULT={"update_resources_interval": "2"},
                         compute={"resource_provider_association_refresh": "1"})  # fmt: skip
    agent.start()
    agent.wait_up()
    remove_host(api, HOST)
    line = agent.wait_log(r"heartbeat: ", 20)
    assert "was deleted from the cloud" in line and "restart it" in line
    time.sleep(6)
    assert agent.alive
    assert services(api, HOST) == [], "a host deleted by its operator stays deleted"
    assert providers(api, agent.state) == []
    assert agent.stop() == 0
    since = agent.mark()
    agent.start()
    agent.wait_up(since=since)
    assert [service["state"] for service in services(api, HOST)] == ["up"]
    assert agent.stop() == 0


# --- in the middle of it -------------------------------------------------------------------------


def test_a_broker_that_goes_and_comes_back(agent, broker, api, cloud, node):
    """Connections cut, then a broker away for a while: heartbeats and consumers come back."""
    agent.configure_more(DEFAULT=through(agent, broker))
    broker.open()
    agent.start()
    agent.wait_up()
    assert broker.cut() >= 3
    time.sleep(3)
    broker.shut()
    time.sleep(8)
    assert agent.alive
    broker.open()
    client = RawAmqp(cloud, node, host=HOST)
    try:
        answered = {"service": "compute", "arg": 1}
        for topic in ("compute", "compute-alt"):
            wait_for(
                f"an answer on {topic}",
                lambda topic=topic: client.call(
                    "ping", {"arg": 1}, topic=topic, namespace="baseapi", version="1.0", seconds=3
                )
                == answered,
                60,
            )
    finally:
        client.close()
    before = services(api, HOST)[0]["updated_at"]
    wait_for("heartbeat", lambda: services(api, HOST)[0]["updated_at"] != before, 40)
    assert agent.stop() == 0


def test_it_stops_without_its_broker(agent, broker):
    """SIGTERM while the broker is away: a clean end, not a kill by systemd."""
    agent.configure_more(DEFAULT=through(agent, broker))
    broker.open()
    agent.start()
    agent.wait_up()
    broker.shut()
    time.sleep(1)
    assert agent.stop(40) == 0


def test_the_queue_manager(agent, api):
    """use_queue_manager: names of queues are predictable, and it needs a place for its lock."""
    agent.configure_more(oslo_messaging_rabbit={"use_queue_manager": "true", "hostname": HOST})
    agent.start()
    agent.wait_up()
    assert [service["state"] for service in services(api, HOST)] == ["up"]
    assert agent.stop() == 0
    assert "Traceback" not in agent.log()


@pytest.mark.parametrize("option", ["rabbit_quorum_queue", "rabbit_transient_quorum_queue"])
def test_queues_unlike_those_of_the_cloud(agent, option):
    """The option reaches the broker, which has other queues: one line, exit code 1."""
    agent.configure_more(oslo_messaging_rabbit={option: "true"})
    agent.start()
    assert agent.exit_code(60) == 1
    assert re.search(r"nova-lite-compute: .*with other properties.*\[oslo_messaging_rabbit\]",
                     agent.log())  # fmt: skip
    assert "Traceback" not in agent.log()
