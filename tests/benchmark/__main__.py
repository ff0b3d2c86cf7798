"""Compare nova_lite with stock nova-compute on the same cloud, in one run.

    python -m tests.benchmark [--quick] [--verbs-only | --volumes-only | --network-only]
                              [--node node2] [--json FILE]
    python -m tests.benchmark --moves-only | --live-only --node node1,node2

One host runs first one agent, then the other; with --node node9,node8 each has a host of its own.
Servers move between two hosts that run the same agent: both run first one, then the other.
Nothing here passes or fails: ratios of one run on one machine are worth reading, absolute times
are not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

from tests.benchmark import forecasts
from tests.benchmark.measure import Benchmark, Plan, Result
from tests.benchmark.report import table, verdict
from tests.cloud.support.api import Api
from tests.cloud.support.devcloud import LITE, STOCK, CloudError, DevCloud


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--node", help="host (default: the last one), or NODE,NODE: one per agent")
    parser.add_argument("--agents", default=f"{STOCK},{LITE}", help="default: %(default)s")
    parser.add_argument("--boots", type=int, help="boots in sequence (default 10)")
    parser.add_argument("--servers", type=int, help="servers at once, and while idle (default 10)")
    parser.add_argument("--quick", action="store_true", help="4 boots, 4 servers: under 8 minutes")
    parser.add_argument("--full", action="store_true", help="10 boots, 20 servers")
    parser.add_argument("--verbs-only", action="store_true",
                        help="start, and conductor calls of each verb")  # fmt: skip
    parser.add_argument("--volumes-only", action="store_true", help="volumes alone")
    parser.add_argument("--network-only", action="store_true",
                        help="boots, deletions, interfaces and boots at once, with their calls "
                             "of Neutron and others")  # fmt: skip
    parser.add_argument("--moves-only", action="store_true",
                        help="migrations and resizes between the two hosts of --node")  # fmt: skip
    parser.add_argument("--live-only", action="store_true",
                        help="live migrations between the two hosts of --node, and what was "
                             "forecast of them")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    return parser.parse_args(arguments)


def chosen_plan(options: argparse.Namespace) -> Plan:
    plan = Plan()
    if options.quick:
        plan = Plan(boots=4, servers=4, verbs=1, attachments=5, moves=1, live=1)
    elif options.full:
        plan = Plan(servers=20)
    return dataclasses.replace(
        plan,
        boots=options.boots or plan.boots,
        servers=options.servers or plan.servers,
        verbs_only=options.verbs_only,
        volumes_only=options.volumes_only,
        network_only=options.network_only,
        live_only=options.live_only,
    )


def hosts(options: argparse.Namespace, cloud: DevCloud) -> dict[str, str]:
    """Agents in the order in which they are measured, each with its host."""
    kinds = options.agents.split(",")
    nodes = (options.node or cloud.nodes()[-1]).split(",")
    return dict(zip(kinds, nodes * len(kinds) if len(nodes) == 1 else nodes, strict=True))


def pair(options: argparse.Namespace, cloud: DevCloud) -> tuple[str, str]:
    """The hosts between which servers move.

    :raises CloudError: there are not two
    """
    nodes = options.node.split(",") if options.node else cloud.nodes()[-2:]
    if len(nodes) != 2:
        raise CloudError("servers move between two hosts: --node NODE,NODE")
    return nodes[0], nodes[1]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measured(cloud: DevCloud, api: Api, node: str, kind: str, plan: Plan) -> Result:
    """Measure an agent; the host then runs again what it ran before."""
    before = cloud.agent_kind(node)
    present = sum(s["OS-EXT-SRV-ATTR:host"] == node for s in api.servers())
    if present:
        say(f"note: {node} has {present} servers of others; 0 servers means {present} here")
    began = time.monotonic()
    say(f"{kind} on {node}")
    try:
        result = Benchmark(cloud, api, node, plan, say).run(kind)
    finally:
        if cloud.agent_kind(node) != before:
            cloud.switch_agent(node, before)
    say(f"  measured in {time.monotonic() - began:.0f} s")
    return result


def measured_moves(
    cloud: DevCloud, api: Api, nodes: tuple[str, str], kind: str, plan: Plan
) -> Result:
    """Measure moves between two hosts of an agent, live ones if the plan says so.

    The hosts then run again what they ran.
    """
    before = {node: cloud.agent_kind(node) for node in nodes}
    began = time.monotonic()
    say(f"{kind} on {' and '.join(nodes)}")
    benchmark = Benchmark(cloud, api, nodes[0], plan, say)
    try:
        for node in nodes:
            if before[node] != kind:
                cloud.switch_agent(node, kind)
        result = benchmark.live(nodes, kind) if plan.live_only else benchmark.moves(nodes)
    finally:
        for node, agent in before.items():
            if cloud.agent_kind(node) != agent:
                cloud.switch_agent(node, agent)
    say(f"  measured in {time.monotonic() - began:.0f} s")
    return result


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    plan, cloud = chosen_plan(options), DevCloud()
    results: dict[str, Result] = {}
    try:
        cloud.require_up()
        api = Api(cloud)
        if options.moves_only or options.live_only:
            nodes = pair(options, cloud)
            for kind in options.agents.split(","):
                results[kind] = measured_moves(cloud, api, nodes, kind, plan)
        else:
            for kind, node in hosts(options, cloud).items():
                results[kind] = measured(cloud, api, node, kind, plan)
    except CloudError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    finally:
        if results:
            print(table(results, plan), verdict(results), sep="\n\n")
            for found in results.values():
                if found.forecasts:
                    print("", forecasts.table(found.forecasts), sep="\n")
            if options.json:
                options.json.write_text(json.dumps(
                    {"plan": dataclasses.asdict(plan),
                     "results": {kind: dataclasses.asdict(r) for kind, r in results.items()}},
                    indent=1))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
