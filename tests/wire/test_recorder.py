"""The recorder keeps what differs of what computes hear and ask, and says what it left out."""

from __future__ import annotations

import copy
import json

import pytest

from tests.cloud.support.devcloud import DevCloud
from tests.wire import record, recorded
from tests.wire.recorder.exchanges import LITE, STOCK, exchanges
from tests.wire.recorder.listening import Listener
from tests.wire.recorder.neutral import Machine
from tests.wire.recorder.shapes import choose

CONDUCTOR, SERVER = "nova-conductor", "uwsgi"


def spoken(program, to, **body):
    return {"from": program, "to": to, "body": body}


def obj(name, version, **data):
    return {"nova_object.name": name, "nova_object.version": version, "nova_object.data": data}


def pause(version="2.8", number=0, program=CONDUCTOR, **data):
    """A cast as the newest release sends it, but for its instance."""
    (first, *_) = recorded.exchanges(recorded.NEWEST, "pause_instance")
    request = copy.deepcopy(first["request"])
    request["args"]["instance"] = obj("Instance", version, uuid="u" * (number + 1), **data)
    return spoken(program, "compute.node1", **request)


class Raw:
    """A traced message as the broker client hands it over."""

    def __init__(self, connection, body):
        self.headers = {"connection": connection, "routing_keys": ["compute.node1"]}
        self.body = json.dumps({"oslo.message": json.dumps(body)})


def test_all_of_nova_is_heard(tmp_path):
    """The API, too, whose connections have the name of its web server; Cinder and Neutron not."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "secrets").write_text("RABBIT_PASSWORD=x\n")
    listener = Listener(DevCloud(tmp_path), "2025.1", print)
    listener._programs = {
        "c1": "uwsgi:1:u", "c2": "nova-conductor:2:u", "c3": "cinder-volume:3:u",
        "c4": "neutron-rpc-server:4:u",
    }  # fmt: skip

    for is_it in (False, True):
        listener._is_it = is_it
        for connection in ("c1", "c2", "c3", "c4", "unknown"):
            listener._hear(Raw(connection, {"method": "ping"}))

    assert [message["from"] for message in listener.heard] == ["uwsgi", "nova-conductor", ""]
    assert listener.heard[0] == spoken("uwsgi", "compute.node1", method="ping")


def test_calls_get_their_replies_and_casts_none():
    """A heartbeat of a monitored call is no reply."""
    found = exchanges([
        spoken(CONDUCTOR, "compute.node1", method="prep_resize", args={}),
        spoken(SERVER, "compute.node2", method="get_console_output", args={}, _msg_id="m1"),
        spoken(LITE, "reply_1", _msg_id="m1", ending=False),
        spoken(LITE, "reply_1", _msg_id="m1", ending=True, result="text"),
    ])  # fmt: skip

    cast, call = found
    assert cast.record["replies"] is None
    assert [reply["result"] for reply in call.record["replies"]] == ["text"]
    assert (call.asked, call.answered) == ("nova-api", LITE)


def test_only_what_a_compute_hears_and_asks():
    """Not what nova-api asks a conductor, what is said to the scheduler, a call without a reply."""
    save = {"method": "object_action", "args": {"objinst": obj("Service", "1.22"),
                                                "objmethod": "save"}}  # fmt: skip
    found = exchanges([
        spoken(SERVER, "conductor", method="rebuild_instance", args={}),
        spoken(STOCK, "conductor", **save, _msg_id="m1"),
        spoken(CONDUCTOR, "reply_1", _msg_id="m1", ending=True, result=[{}, None]),
        spoken(CONDUCTOR, "scheduler", method="select_destinations", args={}),
        spoken(STOCK, "conductor", **save, _msg_id="m2"),
    ])  # fmt: skip

    assert [one.method for one in found] == ["object_action.Service.save"]


def test_what_is_as_in_the_newest_release_is_left_out():
    """Other values are no difference."""
    found = exchanges([pause(number=1), pause(number=2)])

    choice = choose("pause_instance", found, record.newest(), wanted=False)

    assert (choice.differs, choice.kept) == ((), ())
    assert choose("pause_instance", found, record.newest(), wanted=True).kept == (found[0],)


@pytest.mark.parametrize(
    ("message", "difference"),
    [
        (pause("2.7"), "Instance 2.7"),
        (pause(hologram=1), "field Instance.hologram"),
        (pause(flavor=obj("Flavor", "0.9")), "Flavor 0.9"),
        (pause() | {"body": pause()["body"] | {"version": "6.9"}}, "pause_instance version 6.9"),
        (pause() | {"to": "compute-alt.node1"}, "pause_instance topic compute-alt"),
        (pause() | {"body": pause()["body"] | {"_context_new": 1}}, "context _context_new"),
    ],
)
def test_what_differs_is_kept_and_named(message, difference):
    """The smallest that has it."""
    larger = copy.deepcopy(message)
    larger["body"]["args"]["instance"]["nova_object.data"]["uuid"] = "u" * 100
    found = exchanges([pause(), larger, message])

    choice = choose("pause_instance", found, record.newest(), wanted=False)

    assert difference in choice.differs + choice.fields
    assert choice.kept == (found[2],)


def test_a_method_without_recordings_is_kept():
    """One line, not one for each of its arguments."""
    message = pause()
    message["body"]["method"] = "hologram_instance"
    found = exchanges([message])

    choice = choose("hologram_instance", found, record.newest(), wanted=False)

    assert (choice.differs, choice.kept) == (("method hologram_instance",), tuple(found))


def test_an_argument_that_is_gone_is_a_difference():
    """Only where the control plane itself has asked."""
    message = pause()
    del message["body"]["args"]["instance"]

    for program, differs in ((CONDUCTOR, ("no pause_instance argument instance",)), (LITE, ())):
        found = exchanges([message | {"from": program}])
        choice = choose("pause_instance", found, record.newest(), wanted=False)
        assert choice.differs == differs
        assert choice.lite_only is (program == LITE)


def test_files_and_manifest(tmp_path):
    """What was there before is gone."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "old.json").touch()
    found = exchanges([pause("2.7"), pause("2.7", program="")])

    record.write(tmp_path, "2025.1", record.chosen(found, record.newest()), found, Machine())

    (path,) = (tmp_path / "methods").iterdir()
    assert [set(one) for one in json.loads(path.read_text())] == [
        {"routing_key", "request", "replies"}
    ]
    row = json.loads((tmp_path / "manifest.json").read_text())["methods"]["pause_instance"]
    assert row == {
        "heard": {"nova-conductor to compute": 1, "unknown to compute": 1},
        "kept": 1,
        "differs": ["Instance 2.7"],
        "arguments": ["instance"],
    }
