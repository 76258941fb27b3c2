"""
What `benchmarks/isolation.py` found, for people: lines, tables, and a page of the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from benchmarks.sick.judge import TaskResult
from benchmarks.sick.runs import Arrivals
from benchmarks.sick.whole import Shown

__all__ = ["Group", "case_line", "group_line", "tables"]

_FIGURES = {
    "noticed": "noticed after {:.1f} s",
    "probes_per_s": "{:.2f} polls a second meanwhile",
    "replies_to_recover": "over after {:.0f} good reply",
    "recovered": "{:.1f} s after the server was back",
    "took": "over after {:.1f} s",
    "rejected": "{:.0f} requests REJECTED",
    "margin": "margin {:.1%} a minute after the last was refused first",
    "refused": "{:.1%} refused",
}
"""How the figures of a case are told; the others are for `--json`."""


class Group(NamedTuple):
    """Runs that are judged together."""

    way: str
    size: int
    percent: int
    arrivals: Arrivals


def group_line(group: Group, verdict: TaskResult) -> str:
    """Say on one line what a group showed."""
    way, size, percent, arrivals = group
    limits = verdict.limits
    missed = verdict.missed()
    return "  ".join(
        [
            f"{way:17} {size:3} {percent:2} % {arrivals:9}",
            f"mean {verdict.mean:6.2f} x{verdict.mean_ratio:5.2f}",
            f"p99 {verdict.p99:6.2f} x{verdict.p99_ratio:5.2f}",
            f"of {limits.mean:.2f}, {limits.p99:.2f}" if limits else "(shown)      ",
            f"{verdict.outages:2} outages",
            f"NOT: {'; '.join(missed)}" if missed else "ok",
        ]
    )


def case_line(name: str, shown: Shown) -> str:
    """Say on one line what a case showed."""
    return f"{name:58}  {_told(shown)}  {'NOT: ' * bool(shown.missed)}{'; '.join(shown.missed)}"


def _told(shown: Shown) -> str:
    figures = shown.figures
    return ", ".join(
        text.format(figures[name]) for name, text in _FIGURES.items() if name in figures
    )


def tables(verdicts: Mapping[Group, TaskResult], cases: Mapping[str, Shown]) -> str:
    """Write everything as Markdown; what was missed is bold."""
    lines: list[str] = []
    for size in dict.fromkeys(group.size for group in verdicts):
        of_size = {group: each for group, each in verdicts.items() if group.size == size}
        shares = sorted({group.percent for group in of_size})
        lines += [
            f"| {size} requests | " + " | ".join(f"{share} % sick" for share in shares) + " |",
            "|---" * (len(shares) + 1) + "|",
        ]
        for way in dict.fromkeys(group.way for group in of_size):
            texts = [
                _cell(
                    each
                    for group, each in of_size.items()
                    if (group.way, group.percent) == (way, share)
                )
                for share in shares
            ]
            lines.append(f"| {way} | " + " | ".join(texts) + " |")
        lines.append("")
    if cases:
        lines += ["| counter-test | what happened |", "|---|---|"]
        lines += [
            f"| {name} | {_bold(_told(shown), bold=bool(shown.missed))} |"
            for name, shown in cases.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _cell(verdicts: Iterable[TaskResult]) -> str:
    """Join the arrival patterns: the worse of both."""
    both = list(verdicts)
    if not both:
        return ""
    mean, p99 = (max(getattr(each, name) for each in both) for name in ("mean_ratio", "p99_ratio"))
    text = _bold(f"{mean:.2f} / {p99:.2f}", bold=any(each.missed() for each in both))
    return text if any(each.limits for each in both) else f"({text})"


def _bold(text: str, *, bold: bool) -> str:
    return f"**{text}**" if bold else text
