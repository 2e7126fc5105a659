from __future__ import annotations

from pathlib import Path

import pytest

from scoring.azure.config import AzureConfig, ConfigError, make_config, read_config, unknown_keys


def test_defaults() -> None:
    assert make_config({}, {}) == AzureConfig()


def test_the_environment_wins_over_the_file() -> None:
    file = {"SERVICE_NAME": "file", "SERVICE_VERSION": "2", "SCORING_TIMEOUT_MS": 5}
    config = make_config({"SERVICE_NAME": "environment"}, file)
    assert (config.service_name, config.service_version) == ("environment", "2")
    assert config.scoring_timeout_ms == 5


def test_the_file_cannot_set_what_the_reference_reads_from_the_environment_only() -> None:
    file = {"AML_APP_ROOT": "/elsewhere", "AML_CORS_ORIGINS": "*"}
    assert make_config({}, file) == AzureConfig()
    assert unknown_keys(file) == ["AML_APP_ROOT", "AML_CORS_ORIGINS"]


@pytest.mark.parametrize(("text", "expected"), [("1000", 1000), (" 5 ", 5), ("10.0", 10), ("0", 0)])
def test_timeouts(text: str, expected: int) -> None:
    assert make_config({"SCORING_TIMEOUT_MS": text}, {}).scoring_timeout_ms == expected


@pytest.mark.parametrize("text", ["soon", "", "1.5", "nan", "inf"])
def test_a_timeout_that_is_no_number_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="SCORING_TIMEOUT_MS"):
        make_config({"SCORING_TIMEOUT_MS": text}, {})


@pytest.mark.parametrize(("text", "merges"), [("auto", True), ("off", False), (" OFF ", False)])
def test_merging_can_be_switched_off(text: str, merges: bool) -> None:
    assert make_config({"INFERRY_MERGE": text}, {"INFERRY_MERGE": "x"}).merges == merges


def test_a_word_that_inferry_merge_does_not_know_is_named() -> None:
    with pytest.raises(ConfigError, match="INFERRY_MERGE: must be auto or off, not 'no'"):
        make_config({"INFERRY_MERGE": "no"}, {})


def test_the_file_is_found_in_the_app_root_then_beside_the_script(tmp_path: Path) -> None:
    root, code = tmp_path / "root", tmp_path / "code"
    root.mkdir()
    code.mkdir()
    environ = {"AML_APP_ROOT": str(root), "AZUREML_ENTRY_SCRIPT": str(code / "score.py")}
    (root / "config.json").touch()  # empty: passed over
    (code / "config.json").write_text('{"SERVICE_NAME": "beside"}')
    assert read_config(environ).service_name == "beside"
    (root / "config.json").write_text('{"SERVICE_NAME": "root"}')
    assert read_config(environ).service_name == "root"
    named = tmp_path / "named.json"
    named.write_text('{"SERVICE_NAME": "named"}')
    assert read_config(environ | {"AZUREML_CONFIG_FILE": str(named)}).service_name == "named"


@pytest.mark.parametrize("text", ["[1]", "{", '"x"'])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json"):
        read_config({"AML_APP_ROOT": str(tmp_path)})
