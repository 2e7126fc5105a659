"""T10 in small (benchmarks/edge/rollout.py): a simulated fleet on a real hub's database."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks.edge.rollout import CAUTIOUS, NEW, Bad, Fleet, run, share_stopped, some

COUNT = 100
FIRST = 3


@pytest.mark.slow
def test_a_release_that_fails_everywhere_reaches_no_more_than_the_first_batch() -> None:
    found = run(COUNT, Bad(release=True), 1)
    assert found.view.state == "rolled back"
    assert found.view.exposed <= FIRST
    assert found.restored == COUNT


@pytest.mark.slow
def test_with_one_bad_device_in_ten_it_stops_early_and_all_come_back() -> None:
    bad = some(COUNT, 0.1, 2)
    found = run(COUNT, Bad(devices=bad), 2, replace(CAUTIOUS, at_once=None))
    assert found.view.state == "rolled back"
    assert found.view.failed > 0
    assert found.view.exposed <= 25
    assert found.restored == COUNT


@pytest.mark.slow
def test_stuck_devices_time_out_and_stop_it() -> None:
    found = run(COUNT, Bad(stuck=some(COUNT, 0.5, 3), offline=some(COUNT, 0.2, 4)), 3)
    assert found.view.state == "rolled back"
    assert found.view.outcomes["timed out"] > 0
    assert found.took_s >= CAUTIOUS.timeout_s


@pytest.mark.slow
def test_a_good_release_reaches_all_of_a_fleet_some_of_which_are_offline(tmp_path: Path) -> None:
    offline = some(COUNT, 0.2, 5)
    fleet = Fleet(tmp_path, COUNT, Bad(offline=offline), 5)
    fleet.deploy()
    view = fleet.roll_out(replace(CAUTIOUS, skip_offline=True, at_once="10%"), max_s=7200.0)
    assert view.state == "completed"
    assert (view.succeeded, view.outcomes["skipped"]) == (80, 20)
    assert fleet.with_new() == COUNT
    assert fleet.deployments.show("all").layer.modules[0].digest == NEW


@pytest.mark.slow
def test_one_bad_device_in_ten_is_found_in_nearly_every_fleet() -> None:
    assert share_stopped(1000, 0.1, CAUTIOUS, 20) == 1.0
    assert share_stopped(200, 0.0, CAUTIOUS, 1) == 0.0
