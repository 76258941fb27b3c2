"""
What the figures mean: tables for people, and what ours promised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.rate.judge import best_possible
from benchmarks.rate.limiters import PEERS

__all__ = ["missed", "tables", "write_docs"]

BEGIN = "<!-- The tables below are written by benchmarks/budget.py --docs -->"
END = "<!-- End of the tables -->"

_LIMITERS = {
    "fixed": "fixed window",
    "sliding": "sliding log",
    "bucket": "token bucket",
    "strict": "no burst",
    "nginx_burst": "nginx, burst=9 nodelay",
    "nginx_strict": "nginx, no burst",
    "haproxy": "HAProxy, http_req_rate(1s)",
}
_STRICT = {"strict", "nginx_strict"}
REFUSED_LATE = 0.005
"""The share of requests that may be refused after a minute of learning."""

_SHARING = {
    "ours_host": "host limiter",
    "ours_redis": "Redis limiter",
    "ours_uncoordinated": "local limiters that know nothing of each other",
    "ours_static": "local limiters with share=1/n",
    "throttled_redis": "throttled-py on Redis",
}


def missed(result: dict[str, Any]) -> list[str]:
    """What ours promises and did not keep, and what could not be measured."""
    found = [
        f"wave {name}: {wave['late_p99_ms']} ms late at p99, not at most 5"
        for name, wave in result["waves"].items()
        if not wave["valid"]
    ]
    for name, case in result["cases"].items():
        if case is None:
            found.append(f"{name}: could not run")
            continue
        for what, holds, wanted in _promises(name, case, quick=result["quick"]):
            if not holds(case.get(what)):
                found.append(f"{name}: {what} is {case.get(what)}, not {wanted}")
    together = _refused_together(result)
    if together > REFUSED_LATE:
        found.append(f"all with a jitter of 50 ms and more: {together:.5f} refused after 60 s")
    return found


def _refused_together(result: dict[str, Any]) -> float:
    """The share refused after the first minute, over all cases where jitter makes some."""
    sent = refused = 0.0
    for name, case in result["cases"].items():
        limiter, _, jitter = name.rpartition("-")
        learning = case and case["kind"] == "ours_local" and limiter not in _STRICT
        if learning and int(jitter) > 20 and not result["quick"]:
            sent += case["requests_after_60_s"]
            refused += case["requests_after_60_s"] * case["refused_share_after_60_s"]
    return refused / sent if sent else 0.0


def _by_chance(expected: float) -> int:
    """How many there are at most, in 99 runs of 100, where *expected* are to be expected."""
    count, chance = 0, math.exp(-expected)
    below = chance
    while below < 0.99:
        count += 1
        chance *= expected / count
        below += chance
    return count


_Promise = tuple[str, Callable[[Any], bool], str]


def _at_least(what: str, value: float) -> _Promise:
    return what, lambda it: it is not None and it >= value, f"at least {value:g}"


def _at_most(what: str, value: float) -> _Promise:
    return what, lambda it: it is not None and it <= value, f"at most {value:g}"


def _promises(name: str, case: dict[str, Any], *, quick: bool) -> Iterator[_Promise]:
    limiter, _, jitter = name.rpartition("-")
    if case["kind"] == "ours_local":
        late = case.get("requests_after_60_s", 0)
        yield from _promises_alone(limiter, int(jitter), late, quick=quick)
    elif name in {"ours_host-3", "ours_redis-3", "skewed-host", "skewed-redis"}:
        # In 20 s, one slot is half a percent, and two are lost while the first connections
        # are made.
        # A refusal that is the machine's costs a pause and a margin for a minute all the same.
        theirs = case.get("refused", 0) > case.get("refused_in_calm", 0)
        yield _at_least("accepted_per_s", 9.5 if quick else 9.6 if theirs else 9.7)
        yield _at_most("sliding_in_calm", 0)
        yield _at_most("fixed_in_calm", 0)
        yield _at_least("fairness", 0.99)
        if case["kind"] == "ours_redis":
            yield _at_most("redis_calls_per_grant", 2.2)
    elif name in {"ours_host-8", "ours_redis-8", "ours_host-2", "ours_redis-2"}:
        yield _at_most("sliding_in_calm", 0)
        yield _at_most("refused_in_calm", 0)
    elif name == "redis_away":
        yield _at_most("sliding_in_calm", 0)
        yield _at_most("refused_in_calm", 0)
        yield _at_most("lost", 0)
        if not quick:
            yield _at_least("per_s_2_s_after_return", 9.5)
    elif name.startswith("killed-"):
        # Two intervals of 102 ms, and the lateness of one wake-up.
        yield _at_most("longest_gap_after_kill_s", 0.225)
        yield _at_most("refused_in_calm", 0)


def _promises_alone(limiter: str, jitter: int, late: int, *, quick: bool) -> Iterator[_Promise]:
    refused = "refused_share" if quick else "refused_share_after_60_s"
    if limiter in _STRICT:
        if quick:
            return  # it learns for a minute
        # More than the server lets through of an even pace, nobody can reach; and a minute of
        # learning has its price.
        best = best_possible(jitter / 1000, 0.02)
        yield _at_least("share", min(0.85, round(0.93 * best, 3)))
        if best > 0.5:
            # Otherwise it would take a margin of more than 50 %, which it never exceeds.
            yield _at_most(refused, 0.02)
        yield _at_least("margin", 0.03 if jitter else 0.02)
    elif jitter <= 20:
        # In 14 s, one refusal is three quarters of a percent, and its pause costs two slots.
        yield _at_least("share", 0.955 if quick and jitter else 0.975)
        yield _at_most("refused_share", 0.0 if not jitter else 0.01 if quick else 0.001)
    elif not quick:
        yield _at_least("share", 0.94 if jitter == 50 else 0.82)
        if late:
            # 600 requests cannot tell 0.5 % from 0.8 %; all cases together can.
            yield _at_most(refused, _by_chance(REFUSED_LATE * late) / late)


# --- tables ------------------------------------------------------------------------------


def tables(result: dict[str, Any]) -> str:
    """Lay everything out, in Markdown."""
    parts = [_alone(result["cases"]), _others(result["cases"]), _shared(result["cases"])]
    cost = ", ".join(f"{name} {value:g} ms" for name, value in result["overhead_ms"].items())
    waves = ", ".join(
        f"{name} {wave['late_p99_ms']:g} ms" + ("" if wave["valid"] else " (void)")
        for name, wave in result["waves"].items()
    )
    parts.append(f"A slot that is free costs (median): {cost}.")
    parts.append(f"How late the machine was at the 99th percentile: {waves}.")
    return "\n\n".join(part for part in parts if part)


def _alone(cases: dict[str, Any]) -> str:
    jitters = sorted(
        {
            int(name.rpartition("-")[2])
            for name, case in cases.items()
            if case and case["kind"] == "ours_local"
        }
    )
    rows = []
    for limiter, title in _LIMITERS.items():
        cells = []
        for jitter in jitters:
            case = cases.get(f"{limiter}-{jitter}")
            cells.append(_cell(case))
        if any(cells):
            rows.append([title, *cells])
    heads = [f"0-{jitter} ms" if jitter else "none" for jitter in jitters]
    return _table("One process: share of the budget, refused", ["limiter", *heads], rows)


def _cell(case: dict[str, Any] | None) -> str:
    if not case:
        return ""
    text = f"{100 * case['share']:.1f} %, {case['refused']}"
    late = case["refused_share_after_60_s"]
    if case["refused"] and late is not None:
        text += f" ({100 * late:.2f} % after 60 s)"
    return text


def _others(cases: dict[str, Any]) -> str:
    limiters = ["sliding", "fixed", "nginx_burst"]
    rows = []
    for kind, title in PEERS.items():
        cells = [_peer_cell(cases.get(f"{kind}-{limiter}")) for limiter in limiters]
        if any(cells):
            rows.append([title, *cells])
    if not rows:
        return ""
    ours = [_peer_cell(cases.get(f"{limiter}-20")) for limiter in limiters]
    rows.insert(0, ["onehouse-tracker", *ours])
    heads = [_LIMITERS[limiter] for limiter in limiters]
    return _table("Others, jitter 0-20 ms: accepted a second, refused", ["", *heads], rows)


def _peer_cell(case: dict[str, Any] | None) -> str:
    if not case:
        return ""
    return f"{case['accepted_per_s']:.2f}, {100 * case['refused_share']:.1f} %"


def _shared(cases: dict[str, Any]) -> str:
    rows = []
    for name, case in cases.items():
        if not case or case["kind"] not in _SHARING:
            continue
        title, _, count = name.rpartition("-")
        if title in _SHARING:
            title = f"{_SHARING[title]}, {count} processes"
        else:
            title = {
                "redis_away": "Redis limiter, 3 processes; Redis dies and comes back",
                "killed-host": "host limiter, 3 processes; one is killed",
                "killed-redis": "Redis limiter, 3 processes; one is killed",
                "skewed-host": "host limiter, 3 processes; clocks wrong by 0.3 s",
                "skewed-redis": "Redis limiter, 3 processes; clocks wrong by 0.3 s",
            }[name]
        rows.append(
            [
                title,
                f"{case['accepted_per_s']:.2f}",
                str(case["refused"]),
                str(case["most_in_a_second"]),
                f"{case['fairness']:.3f}",
                str(case.get("redis_calls_per_grant", "")),
            ]
        )
    heads = ["", "accepted a second", "refused", "most in a second", "Jain fairness", "calls/slot"]
    return _table("Several processes before a sliding log", heads, rows)


def _table(title: str, heads: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [f"### {title}", "", _row(heads), _row(["---"] * len(heads)), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_docs(page: Path, result: dict[str, Any]) -> None:
    """Replace the tables in *page*."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(result)}\n\n{END}{after}", encoding="utf-8")
