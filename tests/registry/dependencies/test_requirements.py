from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.dependencies import Wanted, read_requirements
from registry.dependencies.requirements import MAX_CHARS, MAX_LINES, MAX_REQUIREMENTS
from registry.errors import RequirementsError

HASH = "0123456789abcdef" * 4


def test_requirements_become_their_normal_form() -> None:
    text = (
        "# what the model needs\n"
        "NumPy >= 1.26, <3  # arrays\n"
        "\n"
        "scikit_learn[b,a]==1.5.0 ; python_version < '3.13'\n"
        "onnx \\\n"
        "  >=1.17\n"
        "numpy<3,>=1.26\n"
    )
    assert read_requirements(text).requirements == (
        "numpy<3,>=1.26",
        'scikit-learn[a,b]==1.5.0; python_version < "3.13"',
        "onnx>=1.17",
    )


def test_a_file_of_windows_with_a_byte_order_mark_is_read() -> None:
    assert read_requirements("\ufeffsix==1.17.0\r\nidna\r\n").requirements == (
        "six==1.17.0",
        "idna",
    )


def test_nothing_is_wanted_by_an_empty_file() -> None:
    assert read_requirements("") == read_requirements("\n# just a comment \\\n") == Wanted(())


def test_hashes_stay_with_their_requirement() -> None:
    text = f"six==1.17.0 \\\n    --hash=sha256:{HASH.upper()} \\\n    --hash sha256:{HASH[::-1]}\n"
    assert read_requirements(text).requirements == (
        f"six==1.17.0 --hash=sha256:{HASH} --hash=sha256:{HASH[::-1]}",
    )


def test_the_server_itself_is_left_out_with_a_note() -> None:
    wanted = read_requirements("six\ninferry[serve]>=0.1\n")
    assert wanted.requirements == ("six",)
    assert "line 2" in wanted.notes[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-r /etc/passwd", "its lines into this one"),
        ("-r/etc/passwd", "its lines into this one"),
        ("--requirement=other.txt", "its lines into this one"),
        ("-c constraints.txt", "its lines into this one"),
        ("-e .", "build a wheel"),
        ("--editable git+https://example.com/x", "build a wheel"),
        ("-i http://evil.example/simple", "pip.conf"),
        ("--index-url http://evil.example/simple", "pip.conf"),
        ("--index-url=http://evil.example/simple", "pip.conf"),
        ("--extra-index-url http://evil.example/simple", "pip.conf"),
        ("--find-links /tmp", "pip.conf"),
        ("-f/tmp", "pip.conf"),
        ("--trusted-host evil.example", "pip.conf"),
        ("--no-binary :all:", "is an option"),
        ("--pre", "is an option"),
        ("six --config-settings=x=y", "is an option"),
        ("six --global-option=x", "is an option"),
        ("six --index-url http://evil.example", "pip.conf"),
        ("six -r other.txt", "its lines into this one"),
        ("six --hash=md5:00", "no --hash=sha256"),
        ("six --hash=sha256:00", "no --hash=sha256"),
        ("six --hash=sha256:" + HASH + "0", "no --hash=sha256"),
        ("name @ https://evil.example/x.whl", "--wheelhouse"),
        ("name@file:///etc/passwd", "--wheelhouse"),
        ("name @ ../x", "--wheelhouse"),
        ("git+ext::sh -c whoami", "--wheelhouse"),
        ("git+ssh://example.com/x", "--wheelhouse"),
        ("file:x.whl", "--wheelhouse"),
        ("./x.whl", "--wheelhouse"),
        ("../x", "--wheelhouse"),
        ("/etc/passwd", "--wheelhouse"),
        ("~/x", "--wheelhouse"),
        ("C:\\x", "--wheelhouse"),
        ("x.whl", "--wheelhouse"),
        ("x-1.0.tar.gz", "--wheelhouse"),
        ("six==${VERSION}", "environment variable"),
        ("six; rm -rf /", "is no requirement"),
        ("six; touch /tmp/x", "is no requirement"),
        ("six && whoami", "is no requirement"),
        ("six | sh", "is no requirement"),
        ("six > /tmp/x", "is no requirement"),
        ("$(whoami)", "shell text"),
        ("`whoami`", "shell text"),
        ("six; python_version > '$(whoami)'", "shell text"),
        ("six\x00", "control character"),
        ("six\x1b[2J", "control character"),
        ("six\rwhoami", "control character"),
        ("six # \u202enothing", "control character"),
        ("six\u2028-r x", "control character"),
        ("six\ud800", "control character"),
        ("s\u0456x", "CYRILLIC"),
        ("six==\uff11", "FULLWIDTH"),
        ("six == one two", "is no requirement"),
        ("==1.0", "is no requirement"),
        ("a" * 3000, "too long"),
        ("six; " + "(" * 500 + "python_version>'3'" + ")" * 500, "too long"),
        ("six" + " " * 100_000 + ">1", "more than"),
    ],
)
def test_a_line_that_could_do_more_is_refused_with_its_number(line: str, said: str) -> None:
    with pytest.raises(RequirementsError, match=r"^line 3: ") as raised:
        read_requirements(f"idna\n# the next one is bad\n{line}\n")
    message = str(raised.value)
    assert said in message
    assert message.isprintable()
    assert message.isascii()
    assert len(message) < 400


def test_the_number_is_that_of_the_first_of_continued_lines() -> None:
    with pytest.raises(RequirementsError, match=r"^line 2: "):
        read_requirements("six\n-r \\\n  other.txt\nidna\n")


@pytest.mark.parametrize(
    "text",
    [
        "x" * (MAX_CHARS + 1),
        "\n" * (MAX_LINES + 1),
        "".join(f"name{number}\n" for number in range(MAX_REQUIREMENTS + 1)),
    ],
)
def test_a_file_that_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(RequirementsError, match="more than"):
        read_requirements(text)


PIECES = st.sampled_from(
    ["six", "==1.0", ";", "python_version>'3'", " ", "\n", "\\\n", "#", "-r", "--hash=sha256:", "@",
     "https://x", "[a]", "(", ")", "'", '"', ",", "~=", "${X}", "\r\n", "\x00", "\ufeff", HASH]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join)))
def test_any_text_is_read_or_refused_in_one_clear_line(text: str) -> None:
    wanted, said = Wanted(()), ""
    try:
        wanted = read_requirements(text)
    except RequirementsError as error:
        said = str(error)
    assert said.isprintable()
    for requirement in wanted.requirements:
        assert read_requirements(requirement).requirements == (requirement,)
        assert "://" not in requirement
        assert not requirement.startswith("-")


def test_python_is_checked_only_when_the_file_says_one() -> None:
    Wanted(()).check_python((3, 11))
    Wanted((), "==3.11.4").check_python((3, 11))
    Wanted((), "<3.12,>=3.10").check_python((3, 11))
    with pytest.raises(RequirementsError, match=r"wants Python ==3\.11\.\*.*has 3\.12"):
        Wanted((), "==3.11.*").check_python((3, 12))
