"""A nova-conductor that keeps one server in memory and may keep its answers to itself."""

from __future__ import annotations

import threading
import time

import oslo_messaging as messaging

from nova_lite.rpc import transport
from nova_lite.wire import exceptions
from nova_lite.wire.objects import CHANGES, DATA, NAME, NAMESPACE, VERSION

UUID = "11111111-2222-4333-8444-555555555555"


class Unexpected(messaging.ExpectedException):
    """What the conductor raises in a save that finds another task state."""

    def __init__(self, text):
        error = exceptions._wire_class("UnexpectedTaskStateError")(text)
        self.exc_info = (type(error), error, None)


class StandInConductor:
    """``silent``: how many of the next questions are carried out and never answered."""

    target = messaging.Target(version="3.0")

    def __init__(self, conf):
        self.instance = {"uuid": UUID, "vm_state": "building", "task_state": "spawning"}
        self.asked = []
        self.silent = 0
        self.over = threading.Event()
        self._transport = transport.make(conf)
        self._server = messaging.get_rpc_server(
            self._transport, messaging.Target(topic="conductor", server="stand-in"), [self],
            executor="threading",
        )  # fmt: skip

    def start(self):
        self._server.start()

    def close(self):
        self.over.set()
        self._server.stop()
        self._server.wait()
        self._transport.cleanup()

    # --- its RPC API ------------------------------------------------------------------------
    def object_class_action_versions(
        self, context, objname, objmethod, object_versions, args, kwargs
    ):
        return self._answer(objname, objmethod, lambda: _primitive(self.instance))

    def object_action(self, context, objinst, objmethod, args, kwargs):
        return self._answer(
            objinst[NAME], objmethod, lambda: self._save(objinst[DATA], objinst[CHANGES], kwargs)
        )

    def _answer(self, name, method, carry_out):
        self.asked.append((f"{name}.{method}", time.monotonic()))
        result = carry_out()
        if self.silent:
            self.silent -= 1
            self.over.wait()
        return result

    def _save(self, data, changes, conditions):
        expected = conditions.get("expected_task_state")
        if expected is not None and self.instance["task_state"] not in expected:
            raise Unexpected(f"task_state is {self.instance['task_state']}")
        self.instance.update({field: data[field] for field in changes})
        return {"obj_what_changed": []}, None


def _primitive(data):
    return {NAME: "Instance", NAMESPACE: "nova", VERSION: "2.8", DATA: dict(data)}
