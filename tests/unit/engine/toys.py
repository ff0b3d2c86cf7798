"""An engine with one verb whose steps change a set of names, for tests of the engine itself."""

from __future__ import annotations

import threading

from nova_lite.engine.engine import Engine
from nova_lite.engine.journal import Journal
from nova_lite.engine.queues import Pool, ServerQueues
from nova_lite.errors import ImageNotFound
from nova_lite.operations.base import Operation
from nova_lite.services.work import Work
from nova_lite.steps.base import COMPLETE, Step
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.clock import QUICK

STEPS = ("first", "left", "right", "last")


class Killed(BaseException):
    """Stands for kill -9: no handler may catch it."""


class World:
    """What the steps change: a set of things that exist, and a log."""

    def __init__(self, **settings):
        self.exists = set()
        self.log = []
        self.repeated = []  # steps, and whether they were told that they may have begun before
        self.asked = []  # steps that were asked whether they are done
        self.notes = False  # whether each step notes something
        self.fail_at = None
        self.error = ImageNotFound("Image 42 is gone")
        self.reported = None
        self.end = COMPLETE  # of the plan; None: nothing of it is ever taken back
        self.after = ()  # stages after that
        self.loads = 0
        self.load_error = None
        self.failed_error = None  # what telling the API meets
        self.succeeded = False
        self.abandoned = None
        self.__dict__.update(settings)


class Make(Step):
    def __init__(self, work, name, world):
        super().__init__(work)
        self.name, self.world = name, world

    def done(self):
        self.world.asked.append(self.name)
        return self.name in self.world.exists

    def do(self):
        world = self.world
        world.log.append(f"do {self.name}")
        world.repeated.append((self.name, self.repeated))
        if world.fail_at == self.name:
            raise world.error
        world.exists.add(self.name)
        if world.notes:
            self.work.note(vifs=self.name)

    def undo(self):
        self.world.log.append(f"undo {self.name}")
        self.world.exists.discard(self.name)


def make_operation(world):
    class Operate(Operation):
        event = "compute_operate"

        @classmethod
        def subject(cls, arguments):
            return arguments.get("volume_id", "")

        def load(self):
            world.loads += 1
            world.past_return = self.past_return
            if world.load_error:
                raise world.load_error

        def plan(self):
            def step(name):
                return (Make(self.work, name, world),)

            made = [step("first"), step("left") + step("right"), step("last")]
            return [*made, *filter(None, [world.end]), *map(step, world.after)]

        def succeeded(self):
            return world.succeeded

        def failed(self, failure):
            world.past_return, world.left = self.past_return, self.work.left
            if world.failed_error:
                raise world.failed_error
            world.reported = failure

        def abandon(self, failure):
            world.abandoned = failure

    return Operate


def make_engine(directory, world, observer=None, *, boot_id="boot-1", verbs=None, pace=QUICK):
    journal = Journal(directory, boot_id)
    journal.prepare()
    events = []

    def make_work(context, arguments, entry):
        return Work(
            context=context,
            tools=None,
            instance=arguments["instance"],
            arguments=arguments,
            notes=entry.notes,
            note=entry.note,
        )

    engine = Engine(
        journal,
        ServerQueues({"short": Pool("short", 4), "builds": Pool("builds", 4)}),
        verbs or {"operate": make_operation(world)},
        make_work,
        finish_event=lambda ctx, uuid, name, failure: events.append(("finish", failure)),
        start_event=lambda ctx, uuid, name: events.append(("start", name)),
        observer=observer,
        pace=pace,
    )
    engine.seen_events = events
    return engine


def arguments(server="s1", **more):
    return {"instance": WireObject.new("Instance", "2.8", uuid=server), **more}


def request(engine, number=1, server="s1", **more):
    fields = {} if number is None else {"request_id": f"req-{number}"}
    return engine.accept("operate", RequestContext(fields), server, arguments(server, **more))


def run(engine, number=1, server="s1", **more):
    entry = request(engine, number, server, **more)
    engine.start(entry)
    assert engine.settle(10)
    return entry


def resume(directory, world, **how):
    """What the next process does."""
    engine = make_engine(directory, world, **how)
    engine.resume()
    assert engine.settle(10)
    return engine


def kill_at(directory, world, boundary, **how):
    """Run until ``boundary``, then behave as a process that is not there any more."""
    dead = threading.Event()

    def observer(name):
        if name == boundary:
            dead.set()
        if dead.is_set():
            raise Killed

    engine = make_engine(directory, world, observer, **how)
    quiet, threading.excepthook = threading.excepthook, lambda args: None
    try:
        entry = None
        try:
            entry = request(engine)
        except Killed:
            pass
        if entry is not None:
            engine.start(entry)
            assert dead.wait(10), f"it did not pass {boundary}"
            for thread in threading.enumerate():
                if thread.name.startswith(("short", "builds", "operate")):
                    thread.join(10)
    finally:
        threading.excepthook = quiet
    return engine


def boundaries(directory, world):
    """Every boundary that an undisturbed run passes."""
    seen = []
    run(make_engine(directory, world, seen.append))
    return seen
