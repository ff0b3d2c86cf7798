"""Requests with their replies, of all that was spoken: what a compute service hears and asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

STOCK, LITE = "nova-compute", "nova-lite-compute"
COMPUTES = (STOCK, LITE)
API, SERVER = "nova-api", "uwsgi"  # which runs it, and gives its name to the broker


@dataclass(frozen=True)
class Exchange:
    """A request with its replies.

    :param asked: the program that sent the request
    :param answered: the program that replied, empty where none has
    """

    method: str  # name of the file that it belongs to
    routing_key: str
    request: dict[str, Any]
    replies: tuple[dict[str, Any], ...]
    asked: str
    answered: str

    @property
    def record(self) -> dict[str, Any]:
        """As in the files; of a cast there are no replies."""
        replies = list(self.replies) if "_msg_id" in self.request else None
        return {"routing_key": self.routing_key, "request": self.request, "replies": replies}


def method_of(request: dict[str, Any]) -> str:
    """The method, for calls of objects with class and name: ``object_action.Instance.save``."""
    method, args = str(request["method"]), request.get("args", {})
    if not method.startswith("object_"):
        return method
    name = args.get("objname") or (args.get("objinst") or {}).get("nova_object.name", "?")
    return ".".join([method, str(name), *([args["objmethod"]] if "objmethod" in args else ())])


def exchanges(spoken: Iterable[dict[str, Any]]) -> list[Exchange]:
    """Those that are sent to a compute service, and those of computes with a conductor.

    A call that was not answered in the time that was recorded is left out.
    """
    replies: dict[str, list[dict[str, Any]]] = {}
    requests = []
    for message in spoken:
        body = message["body"]
        if "method" in body:
            if _of_a_compute(message):
                requests.append(message)
        elif "_msg_id" in body and "ending" in body:
            replies.setdefault(body["_msg_id"], []).append(message)
    return list(_joined(requests, replies))


def _of_a_compute(message: dict[str, Any]) -> bool:
    topic = message["to"].partition(".")[0]
    # What nova-api asks a conductor is none of a compute's business.
    return topic in ("compute", "compute-alt") or (
        topic == "conductor" and message["from"] in COMPUTES
    )


def _joined(
    requests: list[dict[str, Any]], replies: dict[str, list[dict[str, Any]]]
) -> Iterable[Exchange]:
    for message in requests:
        body = message["body"]
        # A call that is monitored has a heartbeat for each period, which carries no result.
        answers = [
            answer
            for answer in replies.get(body.get("_msg_id", ""), [])
            if "result" in answer["body"]
        ]
        if "_msg_id" in body and not any(answer["body"]["ending"] for answer in answers):
            continue
        yield Exchange(
            method_of(body),
            message["to"],
            body,
            tuple(answer["body"] for answer in answers),
            API if message["from"] == SERVER else message["from"],
            answers[-1]["from"] if answers else "",
        )
