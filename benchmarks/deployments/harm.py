"""What a number of kills did to the requests that were sent meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.deployments.figures import (
    SLOW_S,
    Trouble,
    failures,
    median,
    merged_failures,
    said,
    trouble,
)
from benchmarks.deployments.report import Part
from benchmarks.deployments.traffic import RIGHT, Done
from benchmarks.outcome import Finding, table

REROUTED_S = 1.0
Reach = Literal["nothing failed", "soon over", "none"]


@dataclass(frozen=True, slots=True)
class Kill:
    """``whole_s``: until all was as before."""

    what: str
    at_s: float
    whole_s: float


def judge(part: Part, requests: list[Done], kills: list[Kill], reach: Reach) -> None:
    """Into the part's tables, findings and figures."""
    ends = [kill.at_s for kill in kills[1:]] + [kills[-1].at_s + 60.0]
    troubles = [
        trouble(requests, kill.at_s, end_s) for kill, end_s in zip(kills, ends, strict=True)
    ]
    rows = []
    for what in dict.fromkeys(kill.what for kill in kills):
        own = [(k, t) for k, t in zip(kills, troubles, strict=True) if k.what == what]
        rows.append(_row(what, own))
        part.findings.append(_finding(what, own, reach))
    header = ["kill -9 of", "times", "requests", "failed", f"slow (> {SLOW_S * 1000:g} ms)"]
    header += [
        "felt for, median s",
        "at most",
        "longest answer s",
        "whole again, median s",
        "at most",
    ]
    part.tables.append(table(header, rows))
    before = failures(each for each in requests if each.ended_s < kills[0].at_s)
    if before:
        part.notes.append(f"Before the first kill: {said(before)} failed.")
    part.figures[kills[0].what] = {
        "requests": len(requests),
        "right": sum(each.fate == RIGHT for each in requests),
        "failed_at_s": [
            [round(each.ended_s - kills[0].at_s, 3), each.fate]
            for each in requests
            if each.fate != RIGHT
        ],
        "kills": [
            {
                "what": kill.what,
                "at_s": kill.at_s - kills[0].at_s,
                "failed": each.failed,
                "slow": each.slow,
                "felt_for_s": each.lasted_s,
                "longest_answer_s": each.longest_s,
                "whole_again_s": kill.whole_s,
            }
            for kill, each in zip(kills, troubles, strict=True)
        ],
    }


def _row(what: str, own: list[tuple[Kill, Trouble]]) -> list[str]:
    lasted = [each.lasted_s for _, each in own]
    whole = [kill.whole_s for kill, _ in own]
    return [
        what,
        f"{len(own)}",
        f"{sum(each.requests for _, each in own)}",
        said(merged_failures(each.failed for _, each in own)),
        f"{sum(each.slow for _, each in own)}",
        f"{median(lasted):.2f}",
        f"{max(lasted):.2f}",
        f"{max(each.longest_s for _, each in own):.2f}",
        f"{median(whole):.1f}",
        f"{max(whole):.1f}",
    ]


def _finding(what: str, own: list[tuple[Kill, Trouble]], reach: Reach) -> Finding:
    failed = merged_failures(each.failed for _, each in own)
    felt_s = max(max(each.lasted_s, each.longest_s) for _, each in own)
    asked = f"kill -9 of {what}, {len(own)} times"
    measured = f"{said(failed)} failed; felt for {felt_s:.2f} s at most"
    if reach == "nothing failed":
        return Finding(asked, "0 failed, and it goes on where it was", measured, not failed)
    if reach == "soon over":
        within = f"<= {REROUTED_S:g} s until requests are answered as before"
        return Finding(asked, within, measured, felt_s <= REROUTED_S)
    return Finding(asked, "-", measured, None)
