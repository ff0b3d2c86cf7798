"""Shares of servers: who is asked, who keeps them, and what goes on without Manila."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from nova_lite.clock import Pace
from nova_lite.errors import (
    ShareAccessGrantError,
    ShareNotReady,
    ShareProtocolUnsupported,
    ShareServiceUnavailable,
)
from nova_lite.failures import Failure
from nova_lite.operations.shares import AllowShare, DenyShare
from nova_lite.services import devices as device_tags
from nova_lite.services import shares
from nova_lite.steps import shares as steps
from nova_lite.steps.guest import devices
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes import manila as fake
from tests.fakes.clock import ManualClock
from tests.fakes.cloud import Ledger
from tests.fakes.manila import DirectoryShares, FakeManila, FakeShareDrivers

SHARE, ME, OTHER = "share1", "server1", "server2"


class World:
    """A server's work on a host; its shares as all the ledgers have them."""

    def __init__(self, directory, *, status="inactive", flavor=None, patience=3):
        self.manila = FakeManila(Ledger(directory / "ledger.json"))
        self.manila.rules.add_share(SHARE)
        self.driver = DirectoryShares(directory)
        self.rows = {ME: self.mapping(ME, status)}
        self.here, self.asked, self.saved, self.faults = {ME}, [], [], []
        specs = {"hw:mem_page_size": "large"} if flavor is None else flavor
        self.instance = WireObject.new(
            "Instance", "2.8", uuid=ME,
            flavor=WireObject.new("Flavor", "1.2", extra_specs=specs).primitive,
        )  # fmt: skip
        self.uuid, self.context, self.shares = ME, RequestContext.admin(), None
        self.reading = threading.RLock()
        self.cancelled, self.notes = threading.Event(), {"nic_tags": {}}
        self.arguments = {"share_mapping": self.rows[ME]}
        self.tools = SimpleNamespace(
            manila=self.manila, share_mappings=self, instances=self, actions=self, host="host1",
            shares=FakeShareDrivers(self.driver),
            policy=SimpleNamespace(file_backed_memory_mb=0), clock=ManualClock(), pace=Pace(),
            conf=SimpleNamespace(
                my_shared_fs_storage_ip="192.0.2.1",
                manila=SimpleNamespace(share_apply_policy_timeout=patience),
            ),
        )  # fmt: skip

    @staticmethod
    def mapping(server, status, protocol="NFS"):
        made = WireObject.new(
            "ShareMapping", "1.2", uuid=f"of-{server}", instance_uuid=server, share_id=SHARE,
            status=status, tag="docs", export_location="192.0.2.9:/docs", share_proto=protocol,
        )  # fmt: skip
        made.clear_changes()
        return made

    # --- records
    def of_server(self, context, server):
        self.asked.append(server)
        return [self.rows[server]] if server in self.rows else []

    def of_share(self, context, share_id):
        return list(self.rows.values())

    def by_filters(self, context, filters, expected_attrs):
        return [uuid for uuid in filters["uuid"] if uuid in self.here]

    def save(self, context, record, status=None, **fields):
        if status is not None:
            record.set(status=status)
        self.saved.append(status or fields)

    def delete(self, context, mapping):
        self.rows.pop(mapping["instance_uuid"])

    def fault(self, context, uuid, failure):
        self.faults.append(failure.message)

    # --- looking
    def rules(self):
        return [(rule["access_to"], rule["state"]) for rule in self.manila.rules.of(SHARE)]

    def mounted(self):
        return self.driver.mounted(shares.share_of(self, self.mapping(ME, "")))


@pytest.fixture
def world(tmp_path):
    return lambda **how: World(tmp_path, **how)


def carry_out(plan):
    for stage in plan:
        for step in stage:
            step.do()


def test_a_share_is_attached_and_detached(world):
    """The server, which is off, gets no more than the right to it."""
    about = world(status="attaching")
    carry_out(AllowShare(about).plan())
    assert (about.rules(), about.rows[ME]["status"]) == ([("192.0.2.1", "active")], "inactive")
    assert not about.mounted()

    carry_out(DenyShare(about).plan())
    assert (about.rules(), about.rows) == ([], {})


def test_what_fails_leaves_the_mapping_in_error(world):
    """From there it can be detached; the server itself has nothing to do with it."""
    about = world(status="attaching")
    AllowShare(about).failed(Failure.of(ShareAccessGrantError(SHARE, "no room")))

    assert about.rows[ME]["status"] == "error"
    assert about.faults == ["Share access could not be granted to share id share1: no room"]


def test_only_servers_that_may_have_shares_are_asked_for(world):
    """Every other start and stop costs no call."""
    about = world(flavor={})
    assert shares.guest_shares(about) == ()
    assert steps.to_mount(about) == steps.to_unmount(about) == steps.to_release(about) == ()
    assert about.asked == []

    about.tools.policy.file_backed_memory_mb, about.shares = 1024, None
    assert len(shares.guest_shares(about)) == 1


def test_a_start_mounts_and_tells_and_a_stop_unmounts(world, monkeypatch):
    """The metadata name the share while the server has it."""
    monkeypatch.setattr(device_tags, "disk_tags", lambda work: {})
    monkeypatch.setattr(device_tags.guest, "vifs", lambda work: [])
    about = world()
    carry_out([steps.to_mount(about), devices.to_activate(about)])

    assert about.mounted()
    active, metadata = about.saved
    (told,) = metadata["device_metadata"]["devices"]
    assert (active, told.name, told["share_id"], told["tag"]) == (
        "active", "ShareMetadata", SHARE, "docs"
    )  # fmt: skip

    carry_out([steps.to_unmount(about)])
    assert (about.mounted(), about.rows[ME]["status"]) == (False, "inactive")
    assert about.rules() == [("192.0.2.1", "active")]


@pytest.mark.parametrize("status", ["attaching", "detaching"])
def test_a_share_that_is_half_attached_keeps_the_server_from_starting(world, status):
    """It says what to do."""
    with pytest.raises(ShareNotReady, match="detach it"):
        carry_out([steps.to_mount(world(status=status))])


@pytest.mark.parametrize(
    ("status", "here", "kept"),
    [("active", True, True), ("inactive", True, True), ("detaching", True, False),
     ("active", False, False)],
)  # fmt: skip
def test_a_host_keeps_its_way_in_while_another_of_its_servers_needs_it(world, status, here, kept):
    """All of them use one rule."""
    about = world(status="attaching")
    carry_out(AllowShare(about).plan())
    about.rows[OTHER] = about.mapping(OTHER, status)
    about.here |= {OTHER} if here else set()

    carry_out(DenyShare(about).plan())

    assert bool(about.rules()) == kept
    assert list(about.rows) == [OTHER]


def test_a_share_that_is_gone_is_detached(world):
    """From a deleted share nobody can be shut out."""
    about = world(status="detaching")
    with about.manila.rules._ledger.open() as content:
        content["manila"].clear()

    carry_out(DenyShare(about).plan())
    assert about.rows == {}


def test_a_server_starts_without_manila_where_it_needs_no_key(world):
    """The host is let in for long already; the mount shows whether that is still so."""
    about = world()

    def away(*arguments):
        raise ShareServiceUnavailable("Manila does not answer")

    about.manila.access_rule = away
    carry_out([steps.to_mount(about)])
    assert about.mounted()

    carry_out([steps.to_unmount(about)])
    about.shares = None
    about.driver.needs_key = True
    with pytest.raises(ShareServiceUnavailable):
        carry_out([steps.to_mount(about)])


def test_a_storage_that_takes_long_is_waited_for(world, monkeypatch):
    """As long as nova.conf says; 0 waits for nothing."""
    monkeypatch.setattr(fake, "SLOWLY", 3)
    about = world(status="attaching")
    carry_out(AllowShare(about).plan())
    assert about.rules() == [("192.0.2.1", "active")]


def test_a_storage_that_takes_too_long_is_named(world, monkeypatch):
    monkeypatch.setattr(fake, "SLOWLY", 10**6)
    with pytest.raises(ShareAccessGrantError, match="share_apply_policy_timeout"):
        carry_out(AllowShare(world(status="attaching", patience=20)).plan())
    about = world(status="attaching", patience=0)
    carry_out(AllowShare(about).plan())


def test_an_identity_is_one_server_s_on_one_host(world):
    """Its name is the one that nova-compute gives it."""
    about = world()
    share = shares.share_of(about, about.mapping(ME, "inactive", "CEPHFS"))
    # sha256("server1:host1")
    assert (share.access_type, share.access_to) == ("cephx", "nova-5e8d96fd3b0619eb")
    with pytest.raises(ShareProtocolUnsupported, match="SMB"):
        shares.share_of(about, about.mapping(ME, "inactive", "SMB"))
