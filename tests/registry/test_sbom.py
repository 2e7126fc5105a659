"""SBOMs: valid CycloneDX, the same on any day, made from wheels that nobody trusts."""

from __future__ import annotations

import hashlib
import json
import random
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import ComponentType
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from registry.errors import InvalidSourceError
from registry.records import StoredFile
from registry.sbom import (
    MAX_METADATA_BYTES,
    BaseInfo,
    ModelInfo,
    PackageInfo,
    ServerInfo,
    make_sbom,
    package_info,
    purl,
    read_metadata,
)

HEX = "0123456789abcdef" * 4
NUMPY = PackageInfo(
    *("numpy", "2.1.0", "numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl", HEX),
    summary="Arrays & <more> ü",
    author="Travis E. Oliphant et al.",
    license_names=("BSD License", "MIT"),
)
TORCH = PackageInfo(
    *("Torch_Vision.x", "1!0.2+cpu", "torch_vision_x-0.2.whl", HEX),
    license_expression="Apache-2.0 OR (MIT AND BSD-3-Clause)",
)
MODELS = (
    ModelInfo(
        *("digits", 3, f"sha256:{HEX}", "Reads\ndigits"),
        files=(
            StoredFile("b.onnx", 7, f"sha256:{HEX}"),
            StoredFile("a/ü.txt", 0, f"sha256:{HEX}"),
        ),
    ),
    ModelInfo("digits", 1, f"sha256:{HEX}"),
)
FULL: dict[str, Any] = {
    "name": "digits",
    "version": 7,
    "platform": "linux/arm64",
    "builder_version": "0.1.0",
    "packages": (NUMPY, TORCH),
    "models": MODELS,
    "base": BaseInfo("python:3.11-slim", f"sha256:{HEX}"),
    "server": ServerInfo("0.1.0"),
}
BARE: dict[str, Any] = {**FULL, "packages": (), "models": (), "base": None, "server": None}


@pytest.mark.parametrize("facts", [FULL, BARE, {**BARE, "models": MODELS}])
def test_it_is_valid_cyclonedx(facts: dict[str, Any]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(make_sbom(**facts).decode()) is None


def test_the_library_reads_it_back() -> None:
    bom = Bom.from_json(json.loads(make_sbom(**FULL)))  # type: ignore[attr-defined]
    assert isinstance(bom, Bom)
    assert bom.metadata.component is not None
    assert (bom.metadata.component.name, bom.metadata.component.version) == ("digits", "7")
    found = {(part.name, part.version): part for part in bom.components}
    numpy = found["numpy", "2.1.0"]
    assert str(numpy.purl) == "pkg:pypi/numpy@2.1.0"
    assert [(str(each.alg.value), each.content) for each in numpy.hashes] == [("SHA-256", HEX)]
    assert numpy.description == NUMPY.summary
    model = found["digits", "3"]
    assert model.type is ComponentType.MACHINE_LEARNING_MODEL
    assert {file.name for file in model.components} == {"a/ü.txt", "b.onnx"}
    assert found["python:3.11-slim", f"sha256:{HEX}"].type is ComponentType.CONTAINER
    assert found["inferry-scoring", "0.1.0"].type is ComponentType.APPLICATION
    assert len(found) == 6
    [root] = [each for each in bom.dependencies if each.ref == bom.metadata.component.bom_ref]
    assert {each.ref for each in root.dependencies} == {part.bom_ref for part in bom.components}


def test_equal_facts_have_equal_bytes_in_any_order() -> None:
    expected = make_sbom(**FULL)
    assert make_sbom(**{**FULL, "packages": (TORCH, NUMPY), "models": MODELS[::-1]}) == expected
    files = replace(MODELS[0], files=MODELS[0].files[::-1])
    assert make_sbom(**{**FULL, "models": (files, MODELS[1])}) == expected
    document = json.loads(expected)
    assert "timestamp" not in document["metadata"]


@pytest.mark.parametrize("change", [{"name": "x"}, {"version": 8}, {"packages": ()}])
def test_other_facts_have_another_serial_number(change: dict[str, Any]) -> None:
    one, other = json.loads(make_sbom(**FULL)), json.loads(make_sbom(**FULL | change))
    assert one["serialNumber"] != other["serialNumber"]


def test_two_wheels_of_one_package_are_told_apart() -> None:
    other = replace(NUMPY, file="numpy-2.1.0-py3-none-any.whl")
    data = make_sbom(**{**FULL, "packages": (NUMPY, other, NUMPY)})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    references = [part["bom-ref"] for part in json.loads(data)["components"]]
    assert len(references) == len(set(references)) == 6


@pytest.mark.parametrize(
    ("name", "version"),
    [("Torch_Vision.x", "1!0.2+cpu"), ("a--b", "1.0rc1"), ("x", "2024.1.post2.dev3")],
)
def test_package_urls_are_read_back(name: str, version: str) -> None:
    parsed = PackageURL.from_string(purl(name, version))
    assert (parsed.type, parsed.version) == ("pypi", version)
    assert parsed.name == name.lower().replace("_", "-").replace(".", "-").replace("--", "-")


def test_three_hundred_packages_take_no_time() -> None:
    packages = [
        replace(NUMPY, name=f"package-{number}", file=f"package_{number}-2.1.0-py3-none-any.whl")
        for number in range(300)
    ]
    random.Random(1).shuffle(packages)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        make_sbom(**{**FULL, "packages": packages})
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


METADATA = """Metadata-Version: 2.1
Name: Demo_Package
Version: 1.2+local
Summary: A demo\tof things
Author-email: Ada <ada@example.org>, Bob <bob@example.org>
License: MIT License
        Copyright (c) someone
Classifier: Programming Language :: Python
Classifier: License :: OSI Approved :: MIT License
Classifier: License :: OSI Approved
Requires-Dist: numpy

Name: not-this-one
License-Expression: GPL-3.0
"""


def _wheel(folder: Path, members: dict[str, str | bytes], name: str = "demo-1-x.whl") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return folder / name


def test_a_wheel_says_what_it_is(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path, {"demo/__init__.py": "", "demo-1.dist-info/METADATA": METADATA})
    found = package_info(wheel)
    assert found == PackageInfo(
        name="Demo_Package",
        version="1.2+local",
        file="demo-1-x.whl",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        summary="A demo of things",
        author="Ada",
        license_names=("MIT License",),
    )
    assert package_info(wheel, sha256=HEX).sha256 == HEX
    data = make_sbom(**{**FULL, "packages": [found]})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None


def _read(text: str | bytes) -> PackageInfo:
    data = text.encode() if isinstance(text, str) else text
    return read_metadata(data, file="x.whl", sha256=HEX)


HEAD = "Metadata-Version: 2.4\nName: x\nVersion: 1\n"


@pytest.mark.parametrize(
    ("lines", "expression", "names"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: x\n", "MIT OR Apache-2.0", ()),
        ("License-Expression: <script>\nLicense: BSD\n", None, ("BSD",)),
        ("License: BSD 3-Clause\n", None, ("BSD 3-Clause",)),
        ("License: " + "x" * 9000 + "\n", None, ("x" * 500,)),
        ("Classifier: License :: Public Domain\n", None, ("Public Domain",)),
        ("", None, ()),
    ],
)
def test_licenses_are_what_the_package_says(
    lines: str, expression: str | None, names: tuple[str, ...]
) -> None:
    found = _read(HEAD + lines)
    assert (found.license_expression, found.license_names) == (expression, names)


@pytest.mark.parametrize(
    "lines",
    [
        "Summary: \x1b[2J\u202e\u0007 bell\n",
        "Summary: " + "x" * 100_000 + "\n",
        b"Summary: \xff\xfe\x00\n",
        "Author: =?utf-8?q?J=C3=BCrgen?=\n",
        "Author-email: <a@b>\n",
        "License: \n",
        ": nothing\nSummary\n",
    ],
)
def test_hostile_texts_become_valid_ones(lines: str | bytes) -> None:
    data = lines.encode() if isinstance(lines, str) else lines
    found = _read(HEAD.encode() + data)
    assert len(found.summary or "") <= 500
    assert (found.summary or "x").isprintable()
    made = make_sbom(**{**FULL, "packages": [found]})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.decode()) is None


def test_the_first_of_two_names_counts() -> None:
    assert _read("Name: first\nVersion: 1\nName: second\n").name == "first"


def test_without_a_name_or_version_it_is_refused() -> None:
    for text in ("", "Name: x\n", "Version: 1\n", "Name:\nVersion: 1\n", "\n\nName: x\nVersion: 1"):
        with pytest.raises(InvalidSourceError, match=r"'x\.whl': its METADATA has no name"):
            _read(text)


def _no_zip(folder: Path) -> Path:
    (folder / "demo-1-x.whl").write_bytes(b"no zip at all")
    return folder / "demo-1-x.whl"


def _cut(folder: Path) -> Path:
    path = _wheel(folder, {"demo-1.dist-info/METADATA": METADATA})
    path.write_bytes(path.read_bytes()[:-30])
    return path


def _damaged(folder: Path) -> Path:
    path = _wheel(folder, {"demo-1.dist-info/METADATA": METADATA})
    data = bytearray(path.read_bytes())
    data[70:90] = bytes(20)
    path.write_bytes(data)
    return path


def _encrypted(folder: Path) -> Path:
    path = _wheel(folder, {"demo-1.dist-info/METADATA": METADATA})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def _lzma(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "demo-1-x.whl", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("demo-1.dist-info/METADATA", METADATA)
    return folder / "demo-1-x.whl"


def _none(folder: Path) -> Path:
    return _wheel(folder, {"demo/x.py": "", "METADATA": METADATA, "a/b.dist-info/METADATA": "x"})


def _two(folder: Path) -> Path:
    return _wheel(folder, {"a-1.dist-info/METADATA": METADATA, "b-1.dist-info/METADATA": METADATA})


def _bomb(folder: Path) -> Path:
    return _wheel(folder, {"a-1.dist-info/METADATA": b"Name: x\n" * (MAX_METADATA_BYTES // 4)})


def _folder(folder: Path) -> Path:
    (folder / "demo-1-x.whl").mkdir()
    return folder / "demo-1-x.whl"


def _absent(folder: Path) -> Path:
    return folder / "demo-1-x.whl"


@pytest.mark.parametrize(
    "make", [_no_zip, _cut, _damaged, _encrypted, _lzma, _none, _two, _bomb, _folder, _absent]
)
def test_a_wheel_that_cannot_be_read_is_refused(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(InvalidSourceError, match=r"cannot read the wheel 'demo-1-x\.whl': ") as no:
        package_info(make(tmp_path))
    assert str(tmp_path) not in str(no.value)


def test_any_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    good = _wheel(tmp_path, {"demo-1.dist-info/METADATA": METADATA}).read_bytes()
    bad = tmp_path / "bad.whl"
    for at in range(len(good)):
        bad.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        try:
            found = package_info(bad)
        except InvalidSourceError:
            continue
        assert found.name == "Demo_Package"
