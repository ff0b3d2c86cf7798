"""Trials with kill -9: at which boundaries, and what went wrong at each."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests import rotation
from tests.cloud.support.devcloud import CloudError
from tests.cloud.support.killable import KillableAgent
from tests.cloud.support.ledger import Ledger


class Chooser:
    """Chooses boundaries: all with --full, else a sample that --seed decides."""

    def __init__(self, config: pytest.Config) -> None:
        self._all = config.getoption("--full")
        self._seed = rotation.seed(config)

    def __call__(self, kind: str, boundaries: list[Any], count: int) -> list[Any]:
        """In the order given.

        :param kind: of operation
        :param count: how many are enough for a sample
        """
        assert boundaries, f"no boundary of {kind} was seen"
        if self._all:
            return boundaries
        chooser = random.Random(f"{self._seed} {kind}")
        chosen = chooser.sample(boundaries, min(count, len(boundaries)))
        return sorted(chosen, key=boundaries.index)


class Trial:
    """Collects what went wrong at which boundary, so that one failure does not hide the next."""

    def __init__(self, ledger: Ledger | None, agent: KillableAgent) -> None:
        """:param ledger: looked into after each; None: only after the whole test, as ever"""
        self._ledger = ledger
        self._agent = agent
        self.failures: list[str] = []

    def run(self, boundary: str, job: Callable[[], Any]) -> None:
        try:
            job()
            if self._ledger and (leaks := self._ledger.leaks()):
                self.failures.append(f"{boundary}: left behind: {', '.join(leaks)}")
        except (CloudError, AssertionError) as error:
            self.failures.append(f"{boundary}: {error}")
            self._agent.revive()

    def verdict(self) -> None:
        assert not self.failures, "killed at\n" + "\n".join(self.failures)


def kill_either(
    run: Callable[..., None],
    agents: dict[str, KillableAgent],
    verbs: tuple[str, ...],
    choose: Callable[[str, list[str]], list[str]],
    ledger: Ledger,
) -> None:
    """Kill one of two agents at boundaries of an operation in which both take part.

    :param run: the operation, once undisturbed; then with a role and a boundary at which that
        role's agent is to die
    :param agents: by role in the undisturbed run
    :param choose: given "ROLE VERB" and the boundaries seen, those to try
    """
    for agent in agents.values():
        agent.boundaries()
    run()
    seen = {role: agent.boundaries() for role, agent in agents.items()}
    for role, boundaries in seen.items():
        for verb in verbs:
            mine = [name for name in boundaries if name.partition(":")[0] == verb]
            if not mine:
                continue
            trial = Trial(ledger, agents[role])
            for boundary in choose(f"{role} {verb}", mine):
                trial.run(boundary, functools.partial(run, role, boundary))
                for agent in agents.values():
                    agent.revive()
            trial.verdict()
