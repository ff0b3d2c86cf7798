"""Which of the recorded exchanges are worth keeping beside those of the newest release.

A *fact* is a line of text: a class with its version, a field of a class, the topic, the version or
an argument of a method, a key of the context. What differs from the newest release is what has a
fact that none of its recordings has. Values never count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.outgoing import NAME, VERSION, objects_in
from tests.wire.recorder.exchanges import LITE, Exchange, method_of

CONTEXT = "_context_"
WHAT_CHANGED = "obj_what_changed"
AT_MOST = 3  # exchanges of one method


def object_facts(value: Any) -> set[str]:
    """Classes with their versions, and their fields."""
    found = set()
    for obj in objects_in(value):
        found.add(f"{obj[NAME]} {obj[VERSION]}")
        found.update(f"field {obj[NAME]}.{name}" for name in obj["nova_object.data"])
    return found


def call_facts(routing_key: str, request: dict[str, Any]) -> set[str]:
    """What belongs to the method: where it goes, its version, its arguments, and the context."""
    method, topic = method_of(request), routing_key.partition(".")[0]
    found = {f"method {method}", f"{method} version {request.get('version')}"}
    found.add(f"{method} topic {topic}")
    found |= {f"{method} argument {name}" for name in request.get("args", {})}
    # Keyword arguments of an object's method.
    keywords = request.get("args", {}).get("kwargs")
    if isinstance(keywords, dict):
        found |= {f"{method} keyword {name}" for name in keywords}
    return found | {f"context {key}" for key in request if key.startswith(CONTEXT)}


def result_facts(request: dict[str, Any], replies: Iterable[dict[str, Any]]) -> set[str]:
    """Objects of the replies, and fields that a conductor gives back of an object that it saved."""
    results = [reply.get("result") for reply in replies]
    found = object_facts(results)
    if request["method"] == "object_action":
        name = request["args"]["objinst"][NAME]
        for result in results:
            if isinstance(result, list) and result and isinstance(result[0], dict):
                found |= {f"field {name}.{key}" for key in result[0] if key != WHAT_CHANGED}
    return found


def facts(exchange: Exchange) -> set[str]:
    """What it shows of the release; what nova_lite itself has said shows nothing of it."""
    found: set[str] = set()
    if exchange.asked != LITE:
        found |= call_facts(exchange.routing_key, exchange.request) | object_facts(
            exchange.request.get("args")
        )
    if exchange.answered and exchange.answered != LITE:
        found |= result_facts(exchange.request, exchange.replies)
    return found


@dataclass
class Newest:
    """The facts of the newest release's recordings.

    :ivar known: all of them
    :ivar always: by method, those of the method that each of its recordings has
    """

    known: set[str] = field(default_factory=set)
    always: dict[str, set[str]] = field(default_factory=dict)

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Take over exchanges of one file."""
        for record in records:
            request = record["request"]
            method = method_of(request)
            called = call_facts(record["routing_key"], request)
            self.known |= called | object_facts(request.get("args"))
            self.known |= result_facts(request, record["replies"] or ())
            self.always[method] = self.always.get(method, called) & called

    def missing(self, method: str, seen: Iterable[set[str]]) -> set[str]:
        """What the newest always has of a method and none of these has."""
        heard = set().union(*seen)
        # Where nobody but nova_lite has asked, nothing is known of the question.
        if not any(fact.startswith("context ") for fact in heard):
            return set()
        gone = self.always.get(method, set()) - heard
        # Where it goes, and its version, are there anyway: the others are named.
        others = (f"{method} topic ", f"{method} version ")
        return {f"no {fact}" for fact in gone if not fact.startswith(others)}


@dataclass(frozen=True)
class Choice:
    """What is kept of one method.

    :ivar differs: facts that the newest does not have, and what it has and this has not
    :ivar fields: the same of fields; minor versions of a class only add fields, so these are there
        because of what was done while it was recorded
    :ivar kept: the exchanges
    :ivar lite_only: it was only heard from one nova_lite to another
    """

    differs: tuple[str, ...]
    fields: tuple[str, ...]
    kept: tuple[Exchange, ...]
    lite_only: bool


def choose(method: str, found: list[Exchange], newest: Newest, wanted: bool) -> Choice:
    """The smallest exchanges that have all that differs; what spoke natively first.

    :param wanted: keep one also where nothing differs
    """
    # One that shows more of the release comes first among those without news.
    ranked = sorted(((facts(one), one) for one in found), key=_rank)
    missing = newest.missing(method, (shown for shown, _ in ranked))
    news = set().union(*(shown for shown, _ in ranked)) - newest.known
    if f"method {method}" in news:
        news = {fact for fact in news if not fact.startswith(f"{method} ")}
    kept, left = [], set(news)
    while left and len(kept) < AT_MOST:
        shown, best = max(ranked, key=lambda pair: len(pair[0] & left))
        kept.append(best)
        left -= shown
    if not kept and ranked and (wanted or missing):
        kept = [ranked[0][1]]
    fields = {fact for fact in news if fact.startswith("field ")}
    differs = sorted((news | missing) - fields)
    return Choice(
        tuple(differs), tuple(sorted(fields)), tuple(kept), all(_between_lite(one) for one in found)
    )


def _between_lite(exchange: Exchange) -> bool:
    return (
        exchange.asked == LITE
        and exchange.answered in ("", LITE)
        and (exchange.routing_key.startswith("compute"))
    )


def _rank(pair: tuple[set[str], Exchange]) -> tuple[bool, int]:
    _, exchange = pair
    return LITE in (exchange.asked, exchange.answered), len(json.dumps(exchange.record))
