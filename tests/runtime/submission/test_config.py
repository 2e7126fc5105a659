"""The run configuration: what a file may say, and what is refused, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import BadValueError
from runtime.submission import RunConfig, make_config, read_config
from runtime.submission.config import from_document

GOOD = """\
script: src/train.py
arguments: [--epochs, 3, "0.10", yes]
target: gpu1
environment: {OMP_NUM_THREADS: 4, TEXT: "a=b; $(x)"}
pass_environment: [HOME]
python: {interpreter: python3.12, requirements: requirements.txt}
docker: {image: "python:3.12", memory_mb: 2000, cpus: 1.5, network: false, gpus: all}
spark: {conf: {spark.ui.enabled: "false"}, packages: ["a:b:1"], driver_memory: 2g}
snapshot: {ignore: [data/, "*.ckpt"], max_mb: 5, max_files: 10}
max_duration_s: 1.5
"""


def written(tmp_path: Path, text: str, name: str = "run.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_file_says_all_of_it_and_scalars_keep_their_text(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert config.arguments == ("--epochs", "3", "0.10", "yes")
    assert config.environment == {"OMP_NUM_THREADS": "4", "TEXT": "a=b; $(x)"}
    assert (config.docker.cpus, config.docker.network, config.max_duration_s) == (1.5, False, 1.5)
    assert config.snapshot.ignore == ("data/", "*.ckpt")


def test_json_is_taken_as_well(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, '{"script": "a.py", "arguments": ["1"]}', "r.json"))
    assert config == RunConfig(script="a.py", arguments=("1",))


def test_it_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert from_document(config.document()) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("script: a.py\nargument: [x]", "'argument' is not known; did you mean arguments?"),
        ("script: a.py\npython: {requirement: x}", "python: 'requirement' is not known; did you"),
        ("script: a.py\nqqq: 1", "known are script, arguments"),
        ("target: x", "script is missing"),
        ("script: ../a.py", "must be a path in the folder"),
        ("script: /etc/a.py", "must be a path in the folder"),
        ("script: a.sh", "is no .py file"),
        ("script: a.py\nmax_duration_s: soon", "max_duration_s: Expected"),
        ("script: a.py\nmax_duration_s: nan", "max_duration_s must be 0 to"),
        ("script: a.py\nmax_duration_s: -1", "max_duration_s must be 0 to"),
        ("script: a.py\nenvironment: {'A B': 1}", "is no name of a variable"),
        ("script: a.py\nenvironment: {INFERRY_RUN: 1}", "is Inferry's own to set"),
        ("script: a.py\ntarget: 'a;b'", "is no name of a target"),
        ("script: a.py\nscript: b.py", "'script' is there twice"),
        ("script: &a a.py\narguments: [*a]", "anchors and aliases are not taken"),
        ("- script", "must have keys and values"),
        ("script: [", "is no YAML"),
        ("script: a.py\narguments: {a: 1}", "arguments: Expected"),
        ("script: a.py\ndocker: {gpus: some}", "docker.gpus must be all"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadValueError, match=r"run\.yaml") as refused:
        read_config(written(tmp_path, text))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "pairs",
    [
        {"script": "a.py", "arguments": ["a\0b"]},
        {"script": "a.py", "arguments": ["\ud800"]},
        {"script": "a.py", "arguments": ["x"] * 2000},
        {"script": "a.py", "environment": {"A": "x" * 40_000}},
        {"script": "a\n.py"},
        {"script": "a.py", "docker": {"image": "a\nb"}},
    ],
)
def test_text_that_no_program_can_have_is_refused(pairs: dict[str, Any]) -> None:
    with pytest.raises(BadValueError):
        make_config(pairs)


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValueError, match="larger than"):
        read_config(written(tmp_path, "#" * 300_000))
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadValueError, match="no text"):
        read_config(tmp_path / "b.yaml")
