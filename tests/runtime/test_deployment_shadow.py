"""What ``show`` says of shadows, with counts as a mirror keeps them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from runtime.deployments.here import balancer_folder
from runtime.shadow import page
from runtime.shadow.counts import Counts, Difference
from scoring.watching.comparison import Comparison, Verdict
from tests.runtime.conftest import Cli

SINCE = "2026-11-27T08:00:00Z"


@pytest.fixture
def counts_file(cli: Cli, images: Workspace) -> Iterator[Path]:
    """Of the deployment ``web``, whose revision 2 is a shadow of 1."""
    assert cli("deploy", "web", "--image", "adder:1", "--no-wait").code == 0
    assert cli("deployment", "update", "web", "--image", "adder:2").code == 0
    assert cli("deployment", "traffic", "web", "1=100", "--shadow", "2=50").code == 0
    folder = balancer_folder(images.root)
    folder.mkdir(parents=True)
    yield folder / "web.shadow.json"
    shutil.rmtree(folder)


def counted() -> Counts:
    counts = Counts(SINCE)
    for _ in range(99):
        counts.add(Comparison(Verdict.EQUAL), 0.010, 0.030)
    counts.add(Comparison(Verdict.DIFFERENT, "y", max_absolute=0.5), 0.010, 0.030)
    counts.keep(Difference(SINCE, "y: other numbers", "ab" * 32, '{"y": 1}', '{"y": 1.5}'))
    counts.drop("full", 1200)
    counts.fail("status 500, not 200")
    return counts


def test_the_verdict_is_shown(cli: Cli, counts_file: Path) -> None:
    counts_file.write_bytes(page.encoded({"r2": counted(), "r7": Counts(SINCE)}))
    done = cli("deployment", "show", "web")
    assert done.code == 0, done.stderr
    verdict = (
        "revision 2 as shadow: 101 copies, 99 equal, 1 different (largest 0.5), 1 failed,"
        " 1,200 dropped, p99 3 x"
    )
    assert verdict in done.stdout
    assert "dropped: 1,200 as more were under way than are kept" in done.stdout
    assert "y: other numbers  input abababababab" in done.stdout
    assert '| shadow  {"y": 1.5}' in done.stdout
    (found,) = json.loads(cli("deployment", "show", "web", "-o", "json").stdout)["shadows"]
    assert found["verdict"] == verdict
    assert (found["revision"], found["percent"], found["since"]) == (2, 50, SINCE)
    assert (found["copies"], found["equal"], found["different"], found["failed"]) == (101, 99, 1, 1)
    assert found["dropped"] == {"full": 1200}
    assert found["primary"]["p99_s"] == pytest.approx(0.010, rel=0.04)
    assert found["p99_ratio"] == pytest.approx(3, rel=0.05)
    assert found["differences"][0]["input_sha256"] == "ab" * 32


def test_a_shadow_of_which_nothing_is_known_has_no_copies(cli: Cli, counts_file: Path) -> None:
    assert "revision 2 as shadow: 0 copies, 0 equal" in cli("deployment", "show", "web").stdout
    (found,) = json.loads(cli("deployment", "show", "web", "-o", "json").stdout)["shadows"]
    assert (found["copies"], found["since"], found["p99_ratio"]) == (0, None, None)


def test_damaged_counts_are_said_in_a_line(cli: Cli, counts_file: Path) -> None:
    counts_file.write_bytes(b"\x00\x1b[2J")
    done = cli("deployment", "show", "web")
    assert (done.code, "\x1b" in done.stdout) == (0, False)
    assert "what was counted cannot be read" in done.stdout
    (found,) = json.loads(cli("deployment", "show", "web", "-o", "json").stdout)["shadows"]
    assert found["cause"].startswith("what was counted cannot be read: ")
    assert "copies" not in found


def test_without_a_shadow_there_is_none(cli: Cli, counts_file: Path) -> None:
    counts_file.write_bytes(page.encoded({"r2": counted()}))
    assert cli("deployment", "traffic", "web", "1=100").code == 0
    assert "shadow" not in cli("deployment", "show", "web").stdout
    assert json.loads(cli("deployment", "show", "web", "-o", "json").stdout)["shadows"] == []
