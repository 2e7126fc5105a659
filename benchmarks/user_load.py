"""The part ``locust``: benchmarks/locustfile.py, headless, against the digits model."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from benchmarks import contestants
from benchmarks.outcome import KEPT, ROOT, Finding, Outcome, table
from benchmarks.rates import Plan
from benchmarks.servers import NotServedError, Server, check, running
from benchmarks.subjects import Subject, digits

PAGE = KEPT / "locust.html"
KINDS = {"json": "JsonUser", "raw": "RawUser", "v2": "V2User"}
PHASES = 5
SHOWN = ("Type", "Name", "Request Count", "Failure Count", "Requests/s", "50%", "99%", "99.9%")


def locust(plan: Plan) -> Outcome:
    """Steps and a spike by those kinds of client whose form the server takes."""
    if not Path(sys.executable).with_name("locust").exists():
        return Outcome("locust", notes=["Not installed: `pip install locust`."])
    subject = digits(plan.scratch)
    entrant = contestants.ours(subject.model)
    with running(
        entrant, entrant.forms["json"](subject, 0), lambda a: subject.is_right(0, a), plan.scratch
    ) as server:
        kinds = [kind for form, kind in KINDS.items() if _takes(server, entrant, form, subject)]
        step_s = plan.seconds * 1.5
        _locust(server, kinds, step_s, subject.model.stem, plan.scratch)
    rows = list(csv.DictReader((plan.scratch / "locust_stats.csv").open()))
    failures = int(rows[-1]["Failure Count"])
    total = int(rows[-1]["Request Count"])
    what = f"locust: {', '.join(kinds)}; steps and a spike: failed requests"
    outcome = Outcome("locust", [Finding(what, "0", f"{failures} of {total:,}", failures == 0)])
    outcome.tables.append(table(list(SHOWN), [[_short(row[c]) for c in SHOWN] for row in rows]))
    outcome.notes.append(
        f"{PHASES} phases of {step_s:g} s. locust's own cost, not the server's, bounds the rate. "
        f"Its report: {PAGE.relative_to(ROOT)}."
    )
    return outcome


def _takes(server: Server, entrant: contestants.Contestant, form: str, subject: Subject) -> bool:
    try:
        check(server.port, entrant.forms[form](subject, 0), lambda a: subject.is_right(0, a))
    except NotServedError as error:
        print(f"  {form}: {error}", flush=True)
        return False
    return True


def _locust(server: Server, kinds: list[str], step_s: float, model: str, scratch: Path) -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks/locustfile.py")]
    command += ["--host", f"http://127.0.0.1:{server.port}", "--headless", "--only-summary"]
    command += ["--html", str(PAGE), "--csv", str(scratch / "locust"), "--csv-full-history"]
    command += ["--step-s", str(step_s), "--model", model, "--exit-code-on-error", "0", *kinds]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"locust ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _short(text: str) -> str:
    try:
        return f"{float(text):,.0f}"
    except ValueError:
        return text
