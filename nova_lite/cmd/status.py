"""nova-lite-status check: can this host join the cloud?"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict

from oslo_config import cfg

from nova_lite.conf import load
from nova_lite.errors import NovaLiteError
from nova_lite.preflight import base
from nova_lite.preflight.base import Check, Result, Status

PROGRAM = "nova-lite-status"
VERDICTS = {0: "ok", 1: "warnings", 2: "failures"}
_MARKS = {
    Status.OK: "ok  ",
    Status.WARNING: "WARN",
    Status.FAILURE: "FAIL",
    Status.SKIPPED: "skip",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print one line for each.

    :returns: exit code: 0 all well, 1 warnings, 2 failures (also of the configuration itself)
    """
    options = _parser().parse_args(arguments)
    # Libraries log what the checks report anyway; the output is for people and programs.
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.CRITICAL)
    if not options.debug:
        warnings.simplefilter("ignore")
    files = [word for path in options.config_file for word in ("--config-file", path)]
    files += [word for path in options.config_dir for word in ("--config-dir", path)]
    try:
        conf = load.load(files, PROGRAM)
    except NovaLiteError as error:
        remedy = "correct the option that is named"
        results = [Result("configuration", Status.FAILURE, error.message, remedy)]
    else:
        results = _run(conf, options.skip)
    code = base.exit_code(results)
    _print(results, code, options.format)
    return code


def checks(conf: cfg.ConfigOpts) -> tuple[Check, ...]:
    """All checks in the order of their lines."""
    from nova_lite.preflight import host, hypervisor, messaging, nova_conf, openstack, servers

    return (
        messaging.CHECKS
        + openstack.CHECKS
        + hypervisor.CHECKS
        + servers.CHECKS
        + host.CHECKS
        + nova_conf.checks(conf)
    )


def _run(conf: cfg.ConfigOpts, skipped: Sequence[str]) -> list[Result]:
    from nova_lite.preflight.env import Env

    env = Env(conf)
    unwanted = {name.lower() for name in skipped}
    wanted = [check for check in checks(conf) if check.name.lower() not in unwanted]
    return base.run(wanted, env, env.hide)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Say whether this host can join the cloud, and what is missing."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check",
        help="look at everything the agent depends on; changes nothing",
        description="Exit code: 0 all well, 1 warnings, 2 failures.",
    )
    check.add_argument(
        "--config-file", action="append", default=[], help="as for nova-lite-compute; repeatable"
    )
    check.add_argument("--config-dir", action="append", default=[], help="repeatable")
    check.add_argument("--format", choices=("text", "json"), default="text")
    check.add_argument(
        "--skip", action="append", default=[], metavar="NAME", help="leave a check out; repeatable"
    )
    check.add_argument("--debug", action="store_true", help="show what libraries log")
    return parser


def _print(results: Sequence[Result], code: int, form: str) -> None:
    if form == "json":
        print(json.dumps({"result": VERDICTS[code], "checks": [asdict(r) for r in results]}))
        return
    width = max(len(result.name) for result in results)
    for result in results:
        print(f"{_MARKS[result.status]}  {result.name:{width}}  {result.message}")
        if result.remedy:
            print(f"{'':{width + 6}}  -> {result.remedy}")


if __name__ == "__main__":
    sys.exit(main())
