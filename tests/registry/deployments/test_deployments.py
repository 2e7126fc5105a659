"""Deployments as they are declared: revisions, traffic, rollback, and what is refused."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import msgspec
import pytest

from registry import Workspace, database
from registry.database import MIGRATIONS
from registry.deployments import (
    Health,
    Observed,
    Replica,
    Resources,
    RevisionSettings,
    Rollout,
    ServiceSettings,
    Share,
)
from registry.errors import (
    ImageFailedError,
    InUseError,
    InvalidNameError,
    NotFoundError,
    TargetExistsError,
)


def test_a_new_one_has_a_revision_two_keys_and_no_traffic_yet(made: Workspace) -> None:
    found = made.deployments.create("web", "adder:1", actor="ada")
    assert [(r.number, r.image, r.made_by) for r in found.revisions] == [(1, "adder:1", "ada")]
    assert found.revision(1).digest == made.images.get("adder:1").digest
    assert (found.goal, found.traffic, found.target, found.observed) == (1, (), "local", None)
    keys = made.deployments.keys("web")
    assert set(keys) == {"primary", "secondary"}
    assert len(set(keys.values())) == 2


def test_an_image_without_version_is_pinned_to_the_latest(made: Workspace) -> None:
    assert made.deployments.create("web", "adder", actor="a").revision(1).image == "adder:2"


def test_another_image_is_a_new_revision_and_the_same_one_is_none(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    again = made.deployments.update("web", image="adder:1", actor="a")
    assert (again.goal, again.change) == (1, 1)
    found = made.deployments.update("web", image="adder:2", actor="a")
    assert (found.goal, len(found.revisions), found.change) == (2, 2, 2)


def test_a_goal_without_the_traffic_may_be_named_again_which_is_another_attempt(
    made: Workspace,
) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    made.deployments.set_traffic("web", [Share(1, 100)], actor="controller")
    before = made.deployments.update("web", image="adder:2", actor="a")
    first = made.deployments.attempt("web")
    made.deployments.set_traffic("web", [Share(1, 100)], actor="controller")
    made.deployments.update("web", service=ServiceSettings(most_replicas=3), actor="a")
    assert made.deployments.attempt("web") == first
    again = made.deployments.update("web", image="adder:2", actor="a")
    assert (again.goal, len(again.revisions)) == (before.goal, len(before.revisions))
    second = made.deployments.attempt("web")
    assert second > first
    made.deployments.rollback("web", 2, actor="a")
    assert made.deployments.attempt("web") > second
    live = made.deployments.set_traffic("web", [Share(2, 100), Share(1, 5, True)], actor="a")
    assert made.deployments.update("web", image="adder:2", actor="a").change == live.change
    assert made.deployments.attempt("other") == 0


def test_a_new_revision_may_be_a_shadow_and_the_goal_stays(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    with pytest.raises(InvalidNameError, match="100 % together"):  # nothing has traffic yet
        made.deployments.update("web", image="adder:2", shadow=10, actor="a")
    assert len(made.deployments.get("web").revisions) == 1
    made.deployments.set_traffic("web", [Share(1, 100)], actor="controller")
    found = made.deployments.update("web", image="adder:2", shadow=10, actor="a")
    assert (found.goal, len(found.revisions)) == (1, 2)
    assert found.traffic == (Share(1, 100), Share(2, 10, True))
    events = [each.event for each in made.deployments.ledger("web")]
    assert events == ["created", "live", "shadowed", "live"]
    with pytest.raises(InvalidNameError, match="is the goal"):
        made.deployments.update("web", image="adder:1", shadow=10, actor="a")
    for odd in (101.0, -1.0, float("nan")):
        with pytest.raises(InvalidNameError, match="no percentage"):
            made.deployments.update(
                "web", settings=RevisionSettings({"A": "b"}), shadow=odd, actor="a"
            )
    assert made.deployments.rollback("web", 2, actor="a").goal == 2


def test_settings_alone_make_a_revision_and_service_settings_do_not(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    found = made.deployments.update(
        "web", settings=RevisionSettings(environment={"A": "1"}), actor="a"
    )
    assert found.goal == 2
    assert found.revision(2).settings.environment == {"A": "1"}
    assert found.revision(1).settings.environment == {}
    found = made.deployments.update("web", service=ServiceSettings(most_replicas=3), actor="a")
    assert (found.goal, found.service.most_replicas, found.change) == (2, 3, 3)
    assert made.deployments.ledger("web")[-1].detail == {"most_replicas": [None, 3]}


def test_a_number_of_a_dropped_revision_is_not_given_again(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    made.deployments.update("web", image="adder:2", actor="a")
    made.deployments.rollback("web", 1, actor="a")
    made.deployments.drop_revision("web", 2, actor="a")
    assert made.deployments.update("web", image="adder:2", actor="a").goal == 3


@pytest.mark.parametrize("by", ["number", "digest", "short", "image", "none"])
def test_rollback_finds_the_earlier_revision(made: Workspace, by: str) -> None:
    first = made.deployments.create("web", "adder:1", actor="a").revision(1)
    made.deployments.update("web", image="adder:2", actor="a")
    ways: dict[str, str | int | None] = {
        "number": 1,
        "digest": first.digest,
        "short": first.digest.removeprefix("sha256:")[:8],
        "image": "adder:1",
        "none": None,
    }
    assert made.deployments.rollback("web", ways[by], actor="a").goal == 1


@pytest.mark.parametrize("to", [9, "adder:7", "sha256:00000000", "ab", "", "'; DROP TABLE x"])
def test_rollback_to_what_is_not_there_is_refused(made: Workspace, to: str | int) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    with pytest.raises(NotFoundError, match="no revision"):
        made.deployments.rollback("web", to, actor="a")
    with pytest.raises(NotFoundError, match="no earlier"):
        made.deployments.rollback("web", None, actor="a")


def test_images_of_revisions_cannot_be_deleted_until_they_are_dropped(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    made.deployments.update("web", image="adder:2", actor="a")
    with pytest.raises(InUseError, match="web"):
        made.images.delete("adder:1")
    with pytest.raises(InUseError):
        made.deployments.drop_revision("web", 2, actor="a")  # the goal
    made.deployments.drop_revision("web", 1, actor="a")
    made.images.delete("adder:1")


def test_an_image_of_two_revisions_stays_held_while_one_is_there(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    made.deployments.update("web", settings=RevisionSettings(workers=2), actor="a")
    made.deployments.drop_revision("web", 1, actor="a")
    with pytest.raises(InUseError):
        made.images.delete("adder:1")


def test_deleting_frees_name_and_image_once_nothing_runs(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    with pytest.raises(InUseError):
        made.deployments.forget("web")
    assert not made.deployments.delete("web", actor="a").is_wanted
    made.deployments.delete("web", actor="a")
    with pytest.raises(NotFoundError, match="being deleted"):
        made.deployments.update("web", image="adder:2", actor="a")
    with pytest.raises(TargetExistsError):
        made.deployments.create("web", "adder:1", actor="a")
    made.deployments.forget("web")
    assert made.deployments.list() == []
    made.images.delete("adder:1")
    assert [e.event for e in made.deployments.ledger("web")] == ["created", "deleted"]


def test_a_failed_image_and_a_missing_one_are_refused(made: Workspace) -> None:
    with sqlite3.connect(made.root / "workspace.db") as connection:
        connection.execute(
            "UPDATE image_versions SET state = 'failed', digest = NULL, cause = 'it has no sky'"
            " WHERE version = 2"
        )
    connection.close()
    with pytest.raises(ImageFailedError, match="no sky"):
        made.deployments.create("web", "adder:2", actor="a")
    with pytest.raises(NotFoundError):
        made.deployments.create("web", "adder:9", actor="a")
    with pytest.raises(NotFoundError, match="no target"):
        made.deployments.create("web", "adder:1", target="moon", actor="a")
    assert made.deployments.list() == []


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a-", "1a", "a" * 33, "a_b", "a.b", "ä", "a\n", "../a", "a b"]
)
def test_names_that_could_be_no_host_name_are_refused(made: Workspace, name: str) -> None:
    with pytest.raises(InvalidNameError):
        made.deployments.create(name, "adder:1", actor="a")


@pytest.mark.parametrize(
    "service",
    [
        ServiceSettings(port=-1),
        ServiceSettings(port=65_536),
        ServiceSettings(host="a b"),
        ServiceSettings(host=""),
        ServiceSettings(host="x\ny"),
        ServiceSettings(least_replicas=2, most_replicas=1),
        ServiceSettings(most_replicas=0),
        ServiceSettings(most_replicas=1001),
        ServiceSettings(sticky_header="a: b"),
        ServiceSettings(tls_certificate="a\nb"),
        ServiceSettings(rollout=Rollout(steps=())),
        ServiceSettings(rollout=Rollout(steps=(50.0,))),
        ServiceSettings(rollout=Rollout(steps=(50.0, 20.0, 100.0))),
        ServiceSettings(rollout=Rollout(steps=(float("nan"), 100.0))),
        ServiceSettings(rollout=Rollout(max_error_share=float("nan"))),
        ServiceSettings(rollout=Rollout(step_s=float("inf"))),
    ],
)
def test_service_settings_that_make_no_sense_are_refused(
    made: Workspace, service: ServiceSettings
) -> None:
    with pytest.raises(InvalidNameError):
        made.deployments.create("web", "adder:1", service=service, actor="a")
    made.deployments.create("web", "adder:1", actor="a")
    with pytest.raises(InvalidNameError):
        made.deployments.update("web", service=service, actor="a")


@pytest.mark.parametrize(
    "settings",
    [
        RevisionSettings(environment={"A=B": "1"}),
        RevisionSettings(environment={"": "1"}),
        RevisionSettings(environment={"A": "x\0"}),
        RevisionSettings(environment={"PATH": "/tmp"}),
        RevisionSettings(environment={"LD_PRELOAD": "/tmp/x.so"}),
        RevisionSettings(environment={"AZUREML_MODEL_DIR": "/"}),
        RevisionSettings(environment={f"A{i}": "" for i in range(257)}),
        RevisionSettings(secrets=("token",)),
        RevisionSettings(resources=Resources(cpus=0)),
        RevisionSettings(resources=Resources(cpus=float("nan"))),
        RevisionSettings(resources=Resources(memory_bytes=1)),
        RevisionSettings(health=Health(start_s=-1)),
        RevisionSettings(health=Health(failures=0)),
        RevisionSettings(workers=0),
        RevisionSettings(deadline_ms=float("inf")),
    ],
)
def test_revision_settings_that_make_no_sense_are_refused(
    made: Workspace, settings: RevisionSettings
) -> None:
    with pytest.raises(InvalidNameError):
        made.deployments.create("web", "adder:1", settings=settings, actor="a")
    assert made.deployments.list() == []


def test_traffic_must_be_whole_and_of_revisions_that_there_are(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    made.deployments.update("web", image="adder:2", actor="a")
    found = made.deployments.set_traffic("web", [Share(1, 90), Share(2, 10)], actor="controller")
    assert found.traffic == (Share(1, 90), Share(2, 10))
    found = made.deployments.set_traffic("web", [Share(1, 100), Share(2, 50, True)], actor="c")
    assert found.traffic == (Share(1, 100), Share(2, 50, True))
    bad = [
        [],
        [Share(1, 90)],
        [Share(1, 50), Share(3, 50)],
        [Share(1, 50), Share(1, 50)],
        [Share(1, 150), Share(2, -50)],
        [Share(1, float("nan"))],
        [Share(1, 100, True)],
    ]
    for traffic in bad:
        with pytest.raises(InvalidNameError):
            made.deployments.set_traffic("web", traffic, actor="c")
    assert made.deployments.get("web").traffic == found.traffic


def test_what_was_seen_is_kept_and_gone_with_the_deployment(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    replica = Replica("r1", 1, "failed", "127.0.0.1:1", "it ended with 1", "Traceback ...", "now")
    seen = Observed("degraded", "1 of 1 replicas failed", "http://x", 1, (replica,), "now")
    made.deployments.observe("web", seen)
    assert made.deployments.get("web").observed == seen
    made.deployments.observe("gone", seen)
    made.deployments.delete("web", actor="a")
    made.deployments.forget("web")
    made.deployments.create("web", "adder:1", actor="a")
    assert made.deployments.get("web").observed is None


def test_changes_grow_with_what_the_controller_must_do(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    assert made.deployments.changes() == {"web": 1}
    made.deployments.renew_key("web", "primary", actor="a")
    assert made.deployments.changes() == {"web": 2}


def test_misspelt_settings_are_no_silent_default() -> None:
    with pytest.raises(msgspec.ValidationError, match="replicaz"):
        msgspec.json.decode(b'{"replicaz": 2}', type=ServiceSettings)


def test_a_deployment_outlives_its_process(made: Workspace) -> None:
    settings = RevisionSettings({"A": "ä\n"}, resources=Resources(0.5, 1 << 28))
    service = ServiceSettings(port=8080, least_replicas=0, most_replicas=4)
    found = made.deployments.create("web", "adder:1", service=service, settings=settings, actor="a")
    again = Workspace.open(made.root).deployments.get("web")
    assert again == found
    assert (again.service, again.revision(1).settings) == (service, settings)


def test_a_workspace_of_before_gets_its_tables(
    made: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.database.MIGRATIONS", MIGRATIONS[:6])  # later ones stay there
    folder = Path(database.__file__).parent
    scripts = "".join((folder / name).read_text() for name in database.MIGRATIONS[5:])
    with sqlite3.connect(made.root / "workspace.db") as connection:
        for trigger in re.findall(r"CREATE TRIGGER (\w+)", scripts):
            connection.execute(f"DROP TRIGGER {trigger}")
        for table in re.findall(r"CREATE TABLE (\w+)", scripts):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 5")
    connection.close()
    again = Workspace.open(made.root)
    assert [target.name for target in again.targets.list()] == ["local"]
    assert again.deployments.create("web", "adder:1", actor="a").goal == 1
