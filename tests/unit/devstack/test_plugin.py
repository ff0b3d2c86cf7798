"""The DevStack plugin, phase by phase, with stand-ins for DevStack's functions.

With DEVSTACK_DIR set to a checkout of DevStack (and as root) its own functions run instead, those
of lib/nova too, in mount and network namespaces of their own; nothing of the machine is changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from nova_lite.conf import load

REPO = Path(__file__).parents[3]
FAKES = REPO / "tests/fakes/devstack"
DEVSTACK = os.environ.get("DEVSTACK_DIR", "")

LOCALRC = """\
ADMIN_PASSWORD=secret
DATABASE_PASSWORD=secret
RABBIT_PASSWORD=secret
SERVICE_PASSWORD=secret
HOST_IP=10.0.0.1
SERVICE_HOST=10.0.0.9
RABBIT_HOST=10.0.0.9
DATABASE_TYPE=mysql
DEST=$WORK/dest
DATA_DIR=$DEST/data
DEVSTACK_VENV=$WORK/venv
STACK_USER=nobody
LIBVIRT_TYPE=qemu
VIRT_DRIVER=libvirt
ENABLED_SERVICES=n-cpu,placement-client,c-vol,ovn-controller,q-ovn-agent
enable_plugin nova-lite https://example.org/nova-lite
"""
COMMANDS = (
    "systemctl apt-get sysctl modprobe iscsi-iname virsh iscsiadm nvme iptables rabbitmqctl "
    "openstack nova-manage groupadd"
).split()
RECORD = """\
#!/bin/bash
name=${0##*/}
echo "$name $*" >>"$WORK/calls"
case $name,$1 in
    systemctl,is-enabled) grep -q "systemctl enable $2" "$WORK/calls" ;;
    openstack,*) echo 1 ;;
    nova-lite-status,*) exit "$(cat "$WORK/status_code")" ;;
esac
"""
SUDO = """\
#!/bin/bash
while [[ $1 == -* ]]; do shift; done
exec env "$@"
"""


@dataclass
class Outcome:
    """What a play left behind."""

    work: Path
    code: int
    output: str

    @property
    def calls(self) -> list[str]:
        return (self.work / "calls").read_text().splitlines()

    @property
    def facts(self) -> dict[str, str]:
        lines = (self.work / "facts").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def unit(self, service: str) -> dict[str, str] | None:
        """The options of a systemd unit, None if there is no such unit."""
        path = self.work / "systemd" / f"devstack@{service}.service"
        if not path.exists():
            return None
        lines = path.read_text().splitlines()
        return dict(line.split(" = ", 1) for line in lines if " = " in line)

    def index(self, start: str) -> int:
        """Position of the only call that begins like this."""
        found = [index for index, call in enumerate(self.calls) if call.startswith(start)]
        assert len(found) == 1, (start, self.calls)
        return found[0]


def play(work: Path, *acts: str, localrc: str = "", status_code: int = 0, **env: str) -> Outcome:
    """Run acts of play.sh with more lines at the end of localrc."""
    for folder in ("bin", "venv/bin", "dest/nova/etc/nova", "dest/requirements/.venv/bin"):
        (work / folder).mkdir(parents=True)
    programs = [work / "bin" / name for name in COMMANDS]
    programs += [work / "venv/bin/nova-lite-status"]
    programs += [work / "dest/requirements/.venv/bin/edit-constraints"]
    for path, text in [*((path, RECORD) for path in programs), (work / "bin/sudo", SUDO)]:
        path.write_text(text)
        path.chmod(0o755)
    (work / "status_code").write_text(str(status_code))
    (work / "calls").touch()
    (work / "localrc").write_text(LOCALRC + localrc)
    command = ["bash", str(FAKES / "play.sh"), *acts]
    if DEVSTACK:
        ignored = shutil.ignore_patterns(".git", "doc")
        shutil.copytree(DEVSTACK, work / "devstack", ignore=ignored, symlinks=True)
        shutil.copy(work / "localrc", work / "devstack/.localrc.auto")
        command = ["unshare", "--mount", "--net", *command]
    environment = {"WORK": str(work), "REPO": str(REPO), "DEVSTACK_DIR": DEVSTACK, **env}
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=120,
    )
    return Outcome(work, done.returncode, done.stdout)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory) -> Outcome:
    """A host for which n-cpu was asked, with the plugin, stacked and no more."""
    outcome = play(tmp_path_factory.mktemp("stacked"), "stack")
    assert outcome.facts.get("finished") == "stack", outcome.output[-3000:]
    return outcome


def test_n_lite_runs_in_place_of_n_cpu(stacked):
    """One unit, the agent's: as root, from DevStack's environment, on nova-cpu.conf."""
    unit, facts = stacked.unit("n-lite"), stacked.facts

    assert unit is not None
    assert unit["ExecStart"] == f"{facts['bin']}/nova-lite-compute --config-file {facts['conf']}"
    assert unit["User"] == "root"
    assert "Group" not in unit
    assert unit["Environment"].startswith(f'"PATH={facts["bin"]}:')
    assert "systemctl start devstack@n-lite.service" in stacked.calls
    assert stacked.unit("n-cpu") is None


def test_for_everybody_else_the_host_still_has_n_cpu(stacked):
    """The service list tells the truth; who asks DevStack for n-cpu hears yes."""
    services = stacked.facts["ENABLED_SERVICES"].strip(",").split(",")

    assert "n-lite" in services
    assert "n-cpu" not in services
    assert [stacked.facts[name] for name in ("n-cpu", "n-lite", "nova")] == ["yes", "yes", "yes"]


def test_the_host_is_made_ready_as_for_n_cpu(stacked):
    """Packages, libvirt, directories, console options: all that DevStack does for n-cpu."""
    packages = " ".join(call for call in stacked.calls if " install " in call)

    assert "qemu-utils" in packages
    assert "libvirt-daemon-system" in packages
    assert Path(stacked.facts["instances_path"]).is_dir()
    assert "novncproxy_base_url" in (stacked.work / "nova/nova-cpu.conf").read_text()


def test_the_agent_understands_the_configuration(stacked):
    """Every option that DevStack writes has a value that the agent takes."""
    conf = load.load(["--config-file", str(stacked.work / "nova/nova-cpu.conf")], "test")

    assert conf.instances_path == stacked.facts["instances_path"]
    assert conf.libvirt.virt_type == "qemu"


def test_the_order(stacked):
    """Installed from the checkout, checked, started, awaited, and mapped to its cell."""
    order = [
        stacked.index(f"pip_install -e {REPO}"),
        stacked.index(f"nova-lite-status check --config-file {stacked.facts['conf']}"),
        stacked.index("systemctl start devstack@n-lite"),
        stacked.index("openstack"),
        stacked.index("nova-manage"),
    ]

    assert order == sorted(order)


def test_unstack_and_clean(tmp_path):
    """The agent is stopped before guests are destroyed; no journal is left for the next time."""
    outcome = play(tmp_path, "stack", "unstack", "clean")

    assert outcome.code == 0, outcome.output[-3000:]
    assert outcome.index("systemctl stop devstack@n-lite") > outcome.index("# unstack")
    assert outcome.index("systemctl stop devstack@n-lite") < outcome.index("virsh list")
    assert "systemctl stop devstack@n-cpu.service" not in outcome.calls
    assert not Path(outcome.facts["state_path"]).exists()


def test_clean_removes_the_journal(tmp_path):
    """Also when unstack could not."""
    journal = tmp_path / "dest/data/nova/nova-lite/journal"
    journal.mkdir(parents=True)
    outcome = play(tmp_path, "clean")

    assert outcome.facts["finished"] == "clean", outcome.output[-3000:]
    assert not journal.exists()


@pytest.mark.parametrize("lines", ["disable_service n-cpu", "ENABLED_SERVICES=c-vol,q-ovn-agent"])
def test_a_host_without_n_cpu_stays_without(tmp_path, lines):
    """A controller gets no agent, and nobody believes that it had one."""
    outcome = play(tmp_path, "stack", "unstack", "clean", localrc=f"{lines}\n")

    assert outcome.code == 0, outcome.output[-3000:]
    assert [outcome.facts[name] for name in ("n-cpu", "n-lite")] == ["no", "no"]
    assert outcome.unit("n-lite") is None
    assert not any("nova-lite" in call for call in outcome.calls)


def test_n_lite_disabled_keeps_n_cpu(tmp_path):
    """With the plugin in local.conf one line goes back to the stock agent."""
    outcome = play(tmp_path, "stack", localrc="disable_service n-lite\n")
    unit = outcome.unit("n-cpu")

    assert outcome.facts["finished"] == "stack", outcome.output[-3000:]
    assert unit is not None
    assert "nova-compute" in unit["ExecStart"]
    assert outcome.unit("n-lite") is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("VIRT_DRIVER=fake", "nova-lite needs VIRT_DRIVER=libvirt, not fake"),
        ("NOVA_BACKEND=LVM", "nova-lite has no disks on LVM: unset NOVA_BACKEND"),
        ("USER_UNITS=True", "nova-lite runs as root: unset USER_UNITS"),
    ],
)
def test_what_cannot_work_ends_the_stack_early(tmp_path, lines, message):
    """With the remedy, before anything is installed."""
    outcome = play(tmp_path, "stack", localrc=f"{lines}\n")

    assert outcome.code != 0
    assert message in outcome.output
    assert not any(call.startswith(("apt-get", "pip_install")) for call in outcome.calls)


def test_a_discontented_check_is_only_told(tmp_path):
    """nova-lite-status may find what the agent can wait for: the stack goes on."""
    outcome = play(tmp_path, "stack", status_code=2)

    assert outcome.facts["finished"] == "stack", outcome.output[-3000:]
    assert "nova-lite-status is not content with this host" in outcome.output
    assert outcome.unit("n-lite") is not None


def test_without_nova_cpu_conf_nothing_starts(tmp_path):
    """Should DevStack stop writing that file, the plugin says so."""
    outcome = play(tmp_path, "stack", LOSE_NOVA_CPU_CONF="1")

    assert outcome.code != 0
    assert "nova-cpu.conf is missing" in outcome.output
    assert outcome.unit("n-lite") is None
