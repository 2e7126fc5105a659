from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.dependencies.indexes import only_wheelhouse, read_indexes
from registry.errors import RequirementsError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "pip").mkdir()
    (tmp_path / "uv").mkdir()
    return tmp_path


def environment(home: Path, **more: str) -> dict[str, str]:
    """One in which only the files of ``home`` count; PIP_CONFIG_FILE comes after all others."""
    return {"HOME": str(home), "XDG_CONFIG_HOME": str(home), **more}


def ours(environment: dict[str, str]) -> dict[str, str]:
    """What was added for uv about sources."""
    found = read_indexes(environment).environment
    return {key: value for key, value in found.items() if key.startswith("UV_")}


NO_FILES = {"PIP_CONFIG_FILE": os.devnull}


def test_without_settings_uv_decides(home: Path) -> None:
    assert ours(environment(home, **NO_FILES)) == {}
    assert read_indexes(environment(home)).arguments == ("--no-config",)


def test_pips_environment_is_translated(home: Path) -> None:
    assert ours(
        environment(
            home,
            **NO_FILES,
            PIP_INDEX_URL="https://one.example/simple",
            PIP_EXTRA_INDEX_URL="https://two.example/simple https://three.example/simple",
            PIP_FIND_LINKS="/wheels https://four.example/",
            PIP_TRUSTED_HOST="one.example",
            PIP_NO_INDEX="1",
        )
    ) == {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": "https://two.example/simple https://three.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "file:///wheels,https://four.example/",
        "UV_INSECURE_HOST": "one.example",
        "UV_NO_INDEX": "1",
    }


def test_certificates_and_proxy_of_pip_are_used_unless_others_are_set(home: Path) -> None:
    pip = {"PIP_CERT": "/ca.pem", "PIP_PROXY": "http://proxy.example:3128"}
    found = read_indexes(environment(home, **NO_FILES, **pip)).environment
    assert found["SSL_CERT_FILE"] == "/ca.pem"
    assert found["HTTPS_PROXY"] == "http://proxy.example:3128"
    set_before = environment(home, **NO_FILES, **pip, SSL_CERT_FILE="/other.pem")
    assert read_indexes(set_before).environment["SSL_CERT_FILE"] == "/other.pem"


def test_files_of_pip_count_as_they_do_for_pip(home: Path) -> None:
    (home / "pip/pip.conf").write_text(
        "[global]\nindex-url = https://user.example/simple\nfind_links =\n    /a\n    /b\n"
        "[install]\nno-index = true\n"
    )
    named = home / "named.conf"
    named.write_text("[global]\nindex-url = https://named.example/%(x)s\n")
    found = ours(environment(home))
    assert found["UV_DEFAULT_INDEX"] == "https://user.example/simple"
    assert found["UV_FIND_LINKS"] == "file:///a,file:///b"
    assert found["UV_NO_INDEX"] == "1"
    found = ours(environment(home, PIP_CONFIG_FILE=str(named)))
    assert found["UV_DEFAULT_INDEX"] == "https://named.example/%(x)s"
    found = ours(environment(home, PIP_INDEX_URL="https://env.example/simple"))
    assert found["UV_DEFAULT_INDEX"] == "https://env.example/simple"
    assert "UV_DEFAULT_INDEX" not in ours(environment(home, **NO_FILES))


def test_uvs_own_settings_beat_pips(home: Path) -> None:
    pip = {"PIP_INDEX_URL": "https://pip.example/simple"}
    uv = {"UV_INDEX": "https://uv.example/simple"}
    assert ours(environment(home, **NO_FILES, **pip, **uv)) == uv


def test_a_uv_file_of_the_user_counts_and_one_of_a_project_does_not(home: Path) -> None:
    (home / "uv/uv.toml").write_text('index-url = "https://uv.example/simple"')
    found = read_indexes(environment(home, **NO_FILES, PIP_INDEX_URL="https://pip.example"))
    assert found.arguments == ("--config-file", str(home / "uv/uv.toml"))
    assert "UV_DEFAULT_INDEX" not in found.environment
    (home / "uv/uv.toml").write_text("native-tls = true")
    found = read_indexes(environment(home, **NO_FILES, PIP_INDEX_URL="https://pip.example"))
    assert found.environment["UV_DEFAULT_INDEX"] == "https://pip.example"


def test_a_relative_folder_of_wheels_means_the_same_for_uv(home: Path) -> None:
    found = ours(environment(home, **NO_FILES, UV_FIND_LINKS="wheels,https://x.example"))
    assert found["UV_FIND_LINKS"] == f"file://{os.getcwd()}/wheels,https://x.example"


def test_a_wheelhouse_is_the_only_source(home: Path) -> None:
    settings = {"UV_INDEX": "https://x.example", "UV_FIND_LINKS": "/x", "PATH": "/bin"}
    found = only_wheelhouse(settings, home)
    assert found.environment == {"PATH": "/bin"}
    assert found.arguments == ("--no-config", "--no-index", "--find-links", home.as_uri())


def test_passwords_are_known_by_host_and_never_an_argument(home: Path) -> None:
    found = read_indexes(
        environment(
            home,
            **NO_FILES,
            PIP_INDEX_URL="https://me:s%40crt@one.example:8443/simple",
            PIP_EXTRA_INDEX_URL="https://two.example/simple",
        )
    )
    assert found.credentials() == {"https://one.example:8443": ("me", "s@crt")}
    assert not any("crt" in argument for argument in found.arguments)


@pytest.mark.parametrize(
    ("file", "text"), [("pip/pip.conf", "no section"), ("uv/uv.toml", "no toml [")]
)
def test_a_damaged_configuration_is_named_without_its_path(
    home: Path, file: str, text: str
) -> None:
    (home / file).write_text(text)
    with pytest.raises(RequirementsError, match="configuration") as raised:
        read_indexes(environment(home))
    assert str(home) not in str(raised.value)
