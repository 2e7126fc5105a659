"""The inputs of builds, and what changed between two."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.images.workspaces import (
    NotMeasuredError,
    changed_layers,
    changed_script,
    heavy_model,
    require,
)


@pytest.mark.slow
def test_the_heavy_model_weighs_100_mb_and_differs_by_its_seed(tmp_path: Path) -> None:
    one, two = (heavy_model(tmp_path / f"{seed}.onnx", seed) for seed in (1, 2))
    assert 99e6 < one.stat().st_size < 101e6
    assert one.read_bytes() != two.read_bytes()


def test_a_changed_script_differs_in_its_comment_only(tmp_path: Path) -> None:
    one, two = (changed_script(tmp_path / str(i) / "score.py", i) for i in (1, 2))
    assert one.read_text().replace("# change 1", "# change 2") == two.read_text()


def test_layers_that_both_images_have_are_not_changed() -> None:
    before = {"layers": [{"digest": "a"}, {"digest": "b"}]}
    after = {"layers": [{"digest": "a"}, {"digest": "c"}]}
    assert changed_layers(before, after) == [{"digest": "c"}]


def test_a_missing_program_is_named_with_its_remedy() -> None:
    with pytest.raises(NotMeasuredError, match=r"no no-such-program: as root, scripts/system-"):
        require("no-such-program")
