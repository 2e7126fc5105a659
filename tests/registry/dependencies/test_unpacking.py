from __future__ import annotations

import csv
import importlib.metadata
import io
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from registry.blobs import BlobStore
from registry.dependencies import top_level_modules, wheel_entries
from registry.errors import BaseImageError, RequirementsError
from registry.image_tree import PACKAGES_ROOT, SCRIPTS_ROOT
from registry.layers import Entry, write_layer
from registry.paths import WorkspacePaths
from tests.registry.dependencies.wheel_maker import Tamper, make_wheel, record_hash

PYTHON = "/usr/local/bin/python3.11"
SCRIPT = b"#!python\nprint('hello')\n"


def contents(entries: list[Entry]) -> dict[str, bytes]:
    found = {}
    for entry in entries:
        with entry.open() as file:
            found[entry.path] = file.read()
        assert len(found[entry.path]) == entry.size_bytes
    return found


def full_wheel(folder: Path, *, is_reversed: bool = False) -> Path:
    data = "demo-1.0.data"
    return make_wheel(
        folder,
        files={
            "demo/__init__.py": b"def main():\n    print('from demo')\n",
            "demo/empty.txt": b"",
            "demo/tool": b"binary",
            f"{data}/purelib/pure.py": b"X = 1\n",
            f"{data}/platlib/plat.py": b"X = 2\n",
            f"{data}/scripts/hello": SCRIPT,
            f"{data}/data/share/demo.txt": b"data",
            f"{data}/headers/demo.h": b"#define X",
            "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\nrun = demo:main\n",
        },
        executable="demo/tool",
        is_reversed=is_reversed,
    )


def test_a_wheel_becomes_its_installed_form(tmp_path: Path) -> None:
    found = contents(wheel_entries([full_wheel(tmp_path)], PYTHON))
    info = f"{PACKAGES_ROOT}/demo-1.0.dist-info"
    assert sorted(found) == [
        f"{SCRIPTS_ROOT}/hello",
        f"{SCRIPTS_ROOT}/run",
        f"{info}/INSTALLER",
        f"{info}/METADATA",
        f"{info}/RECORD",
        f"{info}/WHEEL",
        f"{info}/entry_points.txt",
        f"{PACKAGES_ROOT}/demo/__init__.py",
        f"{PACKAGES_ROOT}/demo/empty.txt",
        f"{PACKAGES_ROOT}/demo/tool",
        f"{PACKAGES_ROOT}/plat.py",
        f"{PACKAGES_ROOT}/pure.py",
        f"{PACKAGES_ROOT}/share/demo.txt",
    ]
    assert found[f"{SCRIPTS_ROOT}/hello"] == f"#!{PYTHON}\nprint('hello')\n".encode()


def test_only_scripts_and_marked_files_are_executable(tmp_path: Path) -> None:
    entries = wheel_entries([full_wheel(tmp_path)], PYTHON)
    executable = {entry.path.rpartition("/")[2] for entry in entries if entry.is_executable}
    assert executable == {"hello", "run", "tool"}


def test_a_large_program_is_installed_as_it_is(tmp_path: Path) -> None:
    program = b"\x7fELF" + bytes(range(256)) * 1000
    files = {"demo-1.0.data/scripts/tool": program, "demo-1.0.data/scripts/small": b"\x7fELF"}
    found = contents(wheel_entries([make_wheel(tmp_path, files=files)], PYTHON))
    assert found[f"{SCRIPTS_ROOT}/tool"] == program
    assert found[f"{SCRIPTS_ROOT}/small"] == b"\x7fELF"


def test_record_lists_all_that_is_installed(tmp_path: Path) -> None:
    found = contents(wheel_entries([full_wheel(tmp_path)], PYTHON))
    record = f"{PACKAGES_ROOT}/demo-1.0.dist-info/RECORD"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(found.pop(record).decode()))}
    assert rows.pop("demo-1.0.dist-info/RECORD") == ["", ""]
    expected = {
        path.replace(f"{PACKAGES_ROOT}/", "").replace(SCRIPTS_ROOT, "../bin"): data
        for path, data in found.items()
    }
    assert rows == {path: [record_hash(data), str(len(data))] for path, data in expected.items()}


def test_an_unpacked_wheel_runs(tmp_path: Path) -> None:
    for entry in wheel_entries([full_wheel(tmp_path)], sys.executable):
        path = tmp_path / "root" / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as file:
            path.write_bytes(file.read())
    packages = tmp_path / "root" / PACKAGES_ROOT
    script = tmp_path / "root" / SCRIPTS_ROOT / "run"
    done = subprocess.run(
        [sys.executable, script],
        env={"PYTHONPATH": str(packages)},
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == b"from demo\n"
    (found,) = importlib.metadata.distributions(path=[str(packages)])
    assert (found.name, found.version) == ("demo", "1.0")
    assert found.files is not None
    assert all(Path(str(file.locate())).exists() for file in found.files)


def test_the_order_of_zip_and_wheels_does_not_matter(tmp_path: Path) -> None:
    other = make_wheel(tmp_path, "other")
    one = wheel_entries([full_wheel(tmp_path / "a"), other], PYTHON)
    two = wheel_entries([other, full_wheel(tmp_path / "b", is_reversed=True)], PYTHON)
    assert [entry.path for entry in one] == [entry.path for entry in two]
    assert contents(one) == contents(two)
    store = BlobStore(WorkspacePaths(tmp_path / "ws"))
    store.create()
    layers = [write_layer(store, entries, lambda count: None) for entries in (one, two)]
    assert layers[0] == layers[1]
    with store.open(layers[0].digest) as file, tarfile.open(fileobj=file) as archive:
        assert f"{PACKAGES_ROOT}/demo/tool" in archive.getnames()


def test_two_wheels_may_share_equal_files_and_namespaces(tmp_path: Path) -> None:
    one = {"ns/__init__.py": b"__import__('pkgutil').extend_path\n", "ns/a.py": b"", "L": b"x"}
    two = {"ns/__init__.py": b"__import__('pkgutil').extend_path", "ns/b.py": b"", "L": b"x"}
    wheels = [make_wheel(tmp_path, "a", files=one), make_wheel(tmp_path, "b", files=two)]
    assert contents(wheel_entries(wheels, PYTHON))[f"{PACKAGES_ROOT}/L"] == b"x"


def test_two_wheels_with_other_bytes_in_one_place_are_refused(tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path, name, files={"both.py": name.encode()}) for name in ("one", "two")
    ]
    with pytest.raises(RequirementsError, match=r"one-1.0-py3.* and two-1.0-py3.*both\.py"):
        wheel_entries(wheels, PYTHON)


def test_a_file_where_another_wheel_has_a_folder_is_refused(tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path, "one", files={"x": b""}),
        make_wheel(tmp_path, "two", files={"x/y.py": b""}),
    ]
    with pytest.raises(RequirementsError, match=r"a file where two-1\.0"):
        wheel_entries(wheels, PYTHON)


def test_two_wheels_of_one_package_are_refused(tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path), make_wheel(tmp_path, version="2.0")]
    with pytest.raises(RequirementsError, match="of one package"):
        wheel_entries(wheels, PYTHON)


def test_what_the_standard_library_has_is_left_out(tmp_path: Path) -> None:
    """On PYTHONPATH it would be found before the library; in site-packages it never was."""
    files = {"argparse.py": b"", "typing/__init__.py": b"", "imghdr.py": b"", "mine.py": b""}
    found = contents(wheel_entries([make_wheel(tmp_path, files=files)], PYTHON))
    names = {path.removeprefix(f"{PACKAGES_ROOT}/") for path in found if "dist-info" not in path}
    assert names == {"imghdr.py", "mine.py"}


@pytest.mark.parametrize("path", ["scoring/__init__.py", "scoring.py", "scoring.abi3.so"])
@pytest.mark.parametrize("folder", ["", "demo-1.0.data/purelib/", "demo-1.0.data/data/"])
def test_the_servers_name_cannot_be_taken(tmp_path: Path, path: str, folder: str) -> None:
    wheel = make_wheel(tmp_path, files={f"{folder}{path}": b""})
    with pytest.raises(RequirementsError, match="'scoring', which is the name of the server"):
        wheel_entries([wheel], PYTHON)


@pytest.mark.parametrize(
    "path",
    [
        "../evil.py",
        "demo/../../evil.py",
        "/etc/passwd",
        "//etc/passwd",
        "demo//x.py",
        "./x.py",
        "C:/x.py",
        "c:x.py",
        "demo\\..\\x.py",
        "demo/x\n.py",
        "demo/x\u202e.py",
        "demo/.wh.x.py",
        ".wh..wh..opq",
        "x" * 300,
        "x/" * 600 + "y",
        "demo-1.0.data/purelib/../../x.py",
        "demo-1.0.data/scripts/a/b",
        "demo-1.0.data/unknown/x",
        "other-1.0.data/purelib/x.py",
        "other-1.0.dist-info/METADATA",
        "Demo-1.0.Dist-Info/METADATA",
    ],
)
def test_a_path_that_could_do_harm_is_refused(tmp_path: Path, path: str) -> None:
    wheel = make_wheel(tmp_path, files={path: b"x"}, is_reversed=True)
    with pytest.raises(
        RequirementsError, match=r"cannot go into an image|no known place|cannot be"
    ):
        wheel_entries([wheel], PYTHON)


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, files={"demo/x?.py": b"x"})
    wheel.write_bytes(wheel.read_bytes().replace(b"demo/x?.py", b"demo/x\0.py"))
    with pytest.raises(RequirementsError, match="control character"):
        wheel_entries([wheel], PYTHON)


def member(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFREG | 0o4755, stat.S_IFDIR]
)
def test_links_devices_and_foreign_rights_are_refused(tmp_path: Path, mode: int) -> None:
    wheel = make_wheel(tmp_path, extra=[(member("demo/link", mode), b"/etc/passwd")])
    with pytest.raises(RequirementsError, match=r"a link or device|another user"):
        wheel_entries([wheel], PYTHON)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, extra=[(member("demo/__init__.py", 0o100644), b"evil")])
    with pytest.raises(RequirementsError, match="twice"):
        wheel_entries([wheel], PYTHON)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    data = bytearray(wheel.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(signature) + offset] |= 1
    wheel.write_bytes(data)
    with pytest.raises(RequirementsError, match="encrypted"):
        wheel_entries([wheel], PYTHON)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, files={"demo/zeros": bytes(40 * 1024 * 1024)})
    with pytest.raises(RequirementsError, match="would unpack to"):
        wheel_entries([wheel], PYTHON)


def change(path: str, data: bytes | None) -> Tamper:
    def tamper(members: dict[str, bytes]) -> None:
        if data is None:
            del members[path]
        else:
            members[path] = data

    return tamper


INFO = "demo-1.0.dist-info"
MODULE = "demo/__init__.py"


@pytest.mark.parametrize(
    "tamper",
    [
        change(MODULE, None),
        change(MODULE, b"longer than RECORD says"),
        change("demo/extra.py", b"not in RECORD"),
        change(f"{INFO}/RECORD", None),
        change(f"{INFO}/RECORD", b""),
        change(f"{INFO}/RECORD", b"\xff\xfe"),
        change(f"{INFO}/RECORD", b'"unfinished'),
        change(f"{INFO}/RECORD", f"{MODULE},md5=1B2M2Y8AsgTpgAmY7PhCfg,10\n".encode()),
        change(f"{INFO}/RECORD", f"{MODULE},,\n".encode()),
        change(f"{INFO}/RECORD", f"{MODULE},sha256=!!!,10\n".encode()),
        change(f"{INFO}/METADATA", None),
        change(f"{INFO}/WHEEL", None),
        change(f"{INFO}/WHEEL", b"Wheel-Version: 2.0\n"),
    ],
)
def test_a_wheel_that_is_not_as_its_record_says_is_refused(tmp_path: Path, tamper: Tamper) -> None:
    wheel = make_wheel(tmp_path, tamper=tamper)
    with pytest.raises(RequirementsError, match="cannot go into an image"):
        wheel_entries([wheel], PYTHON)


def test_other_bytes_of_equal_length_are_refused_when_read(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, tamper=change(MODULE, b"VALUE = 2\n"))
    store = BlobStore(WorkspacePaths(tmp_path / "ws"))
    store.create()
    entries = wheel_entries([wheel], PYTHON)
    with pytest.raises(RequirementsError, match="other bytes than its RECORD"):
        write_layer(store, entries, lambda count: None, compress=True)
    assert not list((tmp_path / "ws/store/uploads").iterdir())
    assert not list((tmp_path / "ws/store/blobs/sha256").iterdir())


def test_a_size_that_lies_is_refused_when_read(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, files={"demo/a.py": b"A" * 1000})
    data = bytearray(wheel.read_bytes())
    at = data.rindex(b"demo/a.py") - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 24 : at + 28] = (2000).to_bytes(4, "little")
    wheel.write_bytes(data)
    with pytest.raises(RequirementsError, match=r"another size than RECORD|other bytes|damaged"):
        contents(wheel_entries([wheel], PYTHON))


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, files={"demo/a.py": bytes(range(256)) * 20})
    data = bytearray(wheel.read_bytes())
    at = data.index(b"demo/a.py") + 20
    data[at : at + 40] = bytes(40)
    wheel.write_bytes(data)
    with pytest.raises(RequirementsError, match=r"damaged|other bytes"):
        contents(wheel_entries([wheel], PYTHON))


@pytest.mark.parametrize(
    "options",
    [
        {"metadata_name": "other"},
        {"dist_info": "other-1.0.dist-info"},
        {"dist_info": "demo-2.0.dist-info"},
        {"dist_info": "demo.dist-info"},
    ],
)
def test_a_wheel_of_another_package_is_refused(tmp_path: Path, options: dict[str, str]) -> None:
    wheel = make_wheel(tmp_path, metadata_name=options.get("metadata_name"),
                       dist_info=options.get("dist_info"))  # fmt: skip
    with pytest.raises(RequirementsError, match="another package"):
        wheel_entries([wheel], PYTHON)


@pytest.mark.parametrize("name", ["demo-1.0.zip", "demo.whl", "demo-1.0-py3-none-any.whl"])
def test_what_is_no_wheel_is_refused_without_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no zip")
    with pytest.raises(RequirementsError, match="cannot read") as raised:
        wheel_entries([tmp_path / name], PYTHON)
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "no section = 1",
        "[console_scripts]\n../evil = demo:main",
        "[console_scripts]\na/b = demo:main",
        "[console_scripts]\nx = demo",
        "[console_scripts]\nx = demo:main()",
        "[console_scripts]\nx = demo:main; import os",
    ],
)
def test_a_command_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    wheel = make_wheel(tmp_path, files={f"{INFO}/entry_points.txt": text.encode()})
    with pytest.raises(RequirementsError, match=r"entry_points\.txt|a command"):
        wheel_entries([wheel], PYTHON)


@pytest.mark.parametrize("path", ["python3", "", "/usr/bin/python 3", "/x\n/y", "/" + "x" * 200])
def test_a_python_that_no_script_could_name_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(BaseImageError):
        wheel_entries([make_wheel(tmp_path)], path)


def test_top_level_modules_are_what_can_be_imported(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": b"",
        "pkg/sub/__init__.py": b"",
        "ns/deep/__init__.py": b"",
        "single.py": b"",
        "native.cpython-311-x86_64-linux-gnu.so": b"",
        "demo-1.0.data/platlib/plat.abi3.so": b"",
        "demo-1.0.data/data/share/x.py": b"",
        "_private.py": b"",
        "tests/__init__.py": b"",
        "argparse.py": b"",
        "data/x.txt": b"",
        "no-name/__init__.py": b"",
    }
    only_private = make_wheel(tmp_path, "low", files={"_low.abi3.so": b""})
    assert top_level_modules([make_wheel(tmp_path, files=files), only_private]) == {
        "demo": ["native", "ns.deep", "pkg", "plat", "single"],
        "low": ["_low"],
    }
