from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.dependencies import read_conda
from registry.errors import RequirementsError

AZURE = """\
name: project_environment
channels:
  - anaconda
  - conda-forge
dependencies:
  # The Python interpreter version.
  - python=3.11
  - pip
  - conda-forge::numpy=1.26
  - scikit-learn==1.5.0
  - pandas>=2,<3
  - scipy=1.11.4=py311h64a7726_0
  - pytorch
  - pip:
      - azureml-defaults>=1.0.45
      - onnxruntime ==1.20.*  # engine
variables:
  OMP_NUM_THREADS: 1
prefix: /home/me/env
"""


def test_a_conda_file_becomes_requirements_and_a_python() -> None:
    wanted = read_conda(AZURE)
    assert wanted.python == "==3.11.*"
    assert wanted.requirements == (
        "numpy==1.26.*",
        "scikit-learn==1.5.0",
        "pandas<3,>=2",
        "scipy==1.11.4",
        "torch",
        "azureml-defaults>=1.0.45",
        "onnxruntime==1.20.*",
    )
    assert wanted.conda_names == {"numpy", "scikit-learn", "pandas", "scipy", "torch"}
    assert any("channels" in note for note in wanted.notes)
    assert any("py311h64a7726_0" in note for note in wanted.notes)
    assert any("'conda-forge'" in note for note in wanted.notes)


@pytest.mark.parametrize(
    ("spec", "requirement"),
    [
        ("x", "x"),
        ("x=*", "x"),
        ("x *", "x"),
        ("x=1.2", "x==1.2.*"),
        ("x=1.2.*", "x==1.2.*"),
        ("x=1.2*", "x==1.2.*"),
        ("x==1.2", "x==1.2"),
        ("x==1.2.*", "x==1.2.*"),
        ("x 1.2", "x==1.2"),
        ("x 1.2.*", "x==1.2.*"),
        ("x 1.2.3 py311_0", "x==1.2.3"),
        ("x==1.2.3=py311_0", "x==1.2.3"),
        ("x=1.2.3=py311_0", "x==1.2.3"),
        ("x=1.2=*", "x==1.2.*"),
        ("x>=1.2", "x>=1.2"),
        ("x >=1.2, <2.0a0", "x<2.0a0,>=1.2"),
        ("x>=1.2.*", "x>=1.2"),
        ("x!=1.2.*,>1", "x!=1.2.*,>1"),
        ("x~=1.2", "x~=1.2"),
        ("main/linux-64::X_y=1", "x-y==1.*"),
    ],
)
def test_versions_of_conda_become_those_of_python(spec: str, requirement: str) -> None:
    assert read_conda(f"dependencies: ['{spec}']").requirements == (requirement,)


@pytest.mark.parametrize(
    ("spec", "python"),
    [("python", None), ("python=3.11", "==3.11.*"), ("python>=3.10,<3.12", "<3.12,>=3.10")],
)
def test_pythons_version_is_kept_apart(spec: str, python: str | None) -> None:
    wanted = read_conda(f"dependencies: ['{spec}', pip]")
    assert (wanted.requirements, wanted.python) == ((), python)


@pytest.mark.parametrize(
    "name",
    ["cudatoolkit", "mkl", "libgcc", "libgcc-ng", "gcc", "openblas", "blas", "nccl", "cudnn",
     "libstdcxx-ng", "_libgcc_mutex", "cuda-runtime", "gcc_linux-64", "r-base", "r-ggplot2",
     "openssl", "conda-forge::libblas=3.9"],
)  # fmt: skip
def test_a_package_without_wheels_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(RequirementsError, match=r"^line 2: .* no wheel.*--dockerfile"):
        read_conda(f"dependencies:\n  - {name}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("- a", "keys and values"),
        ("a: b", "no 'dependencies:'"),
        ("dependencies: six", "must be a list"),
        ("dependencies: {pip: [six]}", "must be a list"),
        ("dependencies: [[six]]", "text is missing"),
        ("dependencies: [{conda: [six]}]", "only 'pip:'"),
        ("dependencies: [{pip: six}]", "must be a list"),
        ("dependencies: [{pip: [{a: b}]}]", "text is missing"),
        ("dependencies: [{pip: ['-r /etc/passwd']}]", "its lines into this one"),
        ("dependencies: [{pip: ['--index-url http://evil.example']}]", "pip.conf"),
        ("dependencies: [{pip: ['git+ext::sh -c id']}]", "--wheelhouse"),
        ("dependencies: [{pip: ['x @ https://evil.example/x.whl']}]", "--wheelhouse"),
        ('dependencies: [{pip: ["six\\n-r x"]}]', "control character|more than one line"),
        ('dependencies: [{pip: ["six\\0"]}]', "control character"),
        ('dependencies: ["six\\e[2J"]', "control character"),
        ('dependencies: ["\\UFFFFFFFF"]', "character that YAML cannot have"),
        ("dependencies: ['x[version=>1]']", "no version"),
        ("dependencies: ['x=1|2']", "no version"),
        ("dependencies: ['x>=1,,']", "no version"),
        ("dependencies: ['x=1=2=3=4']", "no version"),
        ("dependencies: ['x=1; rm -rf /']", "no version"),
        ("dependencies: ['x=$(id)']", "no version"),
        ("dependencies: ['x=zzz']", "no version"),
        ("dependencies: ['https://evil.example/x.tar.bz2']", "no version|no conda package"),
        ("dependencies: ['../x']", "no conda package"),
        ("dependencies: [a]\ndependencies: [b]", "twice"),
        ("a: &a [x]\ndependencies: *a", "aliases"),
        ("dependencies: !!python/object/apply:os.system ['id']", "tag"),
        ("dependencies: [!!binary aWQ=]", "tag"),
        ("dependencies: " + "[" * 5000, "too deep"),
        ("dependencies:\n" + "- six\n" * 30_000, "more than"),
        ("dependencies: [a]\n---\ndependencies: [b]", "no YAML"),
        ("dependencies: [a", "no YAML"),
        ("dependencies:\n\t- a", "no YAML"),
        ("%YAML 9.9\n---\na: b", "no YAML"),
        ("\x00", "control character"),
        ("x" * 300_000, "more than"),
    ],
)
def test_what_is_no_conda_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(RequirementsError, match=said) as raised:
        read_conda(text)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_a_billion_laughs_are_refused_at_once() -> None:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(RequirementsError, match=r"^line 1: anchors and aliases"):
        read_conda("\n".join(lines))


@given(st.text() | st.text().map(lambda text: f"dependencies:\n - {text}\n - pip:\n   - {text}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    said = ""
    try:
        read_conda(text)
    except RequirementsError as error:
        said = str(error)
    assert said.isprintable()
