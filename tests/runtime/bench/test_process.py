"""locust in a process of its own, against a server that answers as it is told."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme

from runtime.bench import Limits, Plan, Sample, Step, require_locust, run, summary
from runtime.bench import process as process_of_bench
from runtime.errors import LoadTestError, NoLocustError
from tests.runtime.bench.conftest import GOOD, Answer, Targets
from tests.runtime.deployments.waiting import eventually

FAILURES: list[Answer] = [
    (500, {}, b"{}"),
    (429, {"Retry-After": "7"}, b"{}"),
    (429, {}, b"{}"),
    (302, {"Location": "http://127.0.0.1:1/"}, b"{}"),
    None,
    (200, {"Content-Length": "9", "Connection": "close"}, b"{}"),
]


def test_the_command_line_never_imports_locust() -> None:
    code = "import sys, runtime.bench, runtime.cli.bench, runtime.cli.bench_page\n"
    code += "sys.exit(bool({'locust', 'gevent'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_locust_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NoLocustError, match=r"pip install 'inferry\[bench\]'"):
        require_locust()


@pytest.mark.slow
def test_steps_and_rates_are_kept_and_every_body_is_sent(targets: Targets) -> None:
    target = targets()
    bodies = (b'{"n": 1}', b'{"n": 2}')
    headers = {"Content-Type": "application/json", "Authorization": "Bearer k"}
    steps = (Step(1.0, 2), Step(1.0, 4, rate=50.0))
    samples, is_whole = run(Plan(target.url, bodies, steps, headers=headers, sample_s=0.25))
    assert is_whole
    found = summary(Plan(target.url, bodies, steps), samples, Limits(0.0))
    assert found.complaints == ()
    fast, paced = found.steps
    assert fast.good > 20
    assert paced.requests == pytest.approx(50, abs=3)
    assert {body for _, body in target.seen} == set(bodies)
    assert {headers["Authorization"] for headers, _ in target.seen} == {"Bearer k"}
    assert len(target.seen) == fast.requests + paced.requests


@pytest.mark.slow
def test_each_kind_of_failure_is_counted_as_itself(targets: Targets) -> None:
    answers = [GOOD, *FAILURES]
    target = targets(lambda n: answers[n % len(answers)])
    plan = Plan(target.url, (b"{}",), (Step(1.0, 2),), timeout_s=45.0)
    samples, _ = run(plan)
    [step] = summary(plan, samples).steps
    assert set(step.failed) == {
        "HTTP 500",
        "HTTP 429 without Retry-After",
        "HTTP 302",
        "connection ended without an answer",
        "no whole HTTP answer",
    }
    assert step.good > 0
    assert step.shed > 0
    assert step.retry_after_s == 7.0
    assert step.requests == len(target.seen)


@pytest.mark.slow
def test_only_the_given_certificate_is_trusted(targets: Targets, tmp_path: Path) -> None:
    authority = trustme.CA()
    right, wrong = authority.issue_cert("example.org"), authority.issue_cert("example.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    right.configure_cert(context)
    target = targets(tls=context)
    found = {}
    for name, leaf in (("right", right), ("wrong", wrong)):
        path = tmp_path / f"{name}.pem"
        path.write_bytes(leaf.cert_chain_pems[0].bytes())
        plan = Plan(target.url, (b"{}",), (Step(0.5, 1),), certificate=str(path), timeout_s=45.0)
        samples, _ = run(plan)
        [found[name]] = summary(plan, samples).steps
    assert found["right"].good > 0
    assert found["right"].errors == 0
    assert found["wrong"].good == 0
    assert set(found["wrong"].failed) == {"TLS failed"}


@pytest.mark.slow
def test_ctrl_c_shows_what_there_is_and_leaves_nothing_behind(
    targets: Targets, tmp_path: Path
) -> None:
    target = targets()
    (tmp_path / "body.json").write_bytes(b"{}")
    words = ["bench", target.url, "--data", "body.json", "--users", "2", "--duration", "100"]
    with subprocess.Popen(
        [sys.executable, "-m", "runtime.cli.main", *words],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        eventually(lambda: len(target.seen) > 50)
        [folder] = tmp_path.glob("inferry-bench-*")
        eventually(lambda: (folder / "samples").read_bytes())
        assert (folder / "plan").stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "It was interrupted" in out
    assert "2 users" in out
    assert error == "inferry: interrupted\n"
    assert not list(tmp_path.glob("inferry-bench-*"))
    before = len(target.seen)
    assert not threading.Event().wait(0.2)
    assert len(target.seen) == before


@pytest.mark.slow
def test_what_locust_says_at_its_end_is_the_error(
    targets: Targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such thing as users')\n")
    monkeypatch.setattr(process_of_bench, "USERS_FILE", broken)
    with pytest.raises(LoadTestError, match="no such thing as users"):
        run(Plan(targets().url, (b"{}",), (Step(1.0, 1),)))


def test_a_user_s_settings_of_locust_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUST_HOST", "http://elsewhere")
    found = process_of_bench._environment(tmp_path)
    assert not [name for name in found if name.startswith("LOCUST_")]
    assert found["HOME"] == str(tmp_path)


def test_samples_are_given_while_it_runs(tmp_path: Path) -> None:
    """Without locust: a process that writes them as locustfile.py does."""
    seen: list[int] = []
    path = tmp_path / "samples"
    path.touch()
    code = "import sys, time\n"
    code += "from runtime.bench.sample import Sample, encoded\n"
    code += "with open(sys.argv[1], 'ab', 0) as file:\n"
    code += "    for n in range(3):\n"
    code += "        file.write(encoded(Sample(0, float(n), 1.0, {1: 2})))\n"
    code += "        sys.stdin.read(1)\n"
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE) as child:

        def note(samples: list[Sample]) -> None:
            seen.append(len(samples))
            assert child.stdin is not None
            child.stdin.write(b"x")
            child.stdin.flush()

        plan = Plan("http://h/score", (b"{}",), (Step(1.0, 1),))
        is_whole = process_of_bench._followed(
            child,
            plan,
            path,
            process_of_bench.Interrupt(),
            note,  # type: ignore[arg-type]
        )
    assert is_whole
    assert seen == [1, 2, 3]
