"""Every node test of the ``onnx`` package, registered, served and scored over HTTP, but for those
that excluded_nodes.py names; and each of those held to its reason.

The tests run in parts because collecting the cases takes seconds, which no other test run shall
pay: the cases have no names before a test of this module runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import filter as matching
from pathlib import Path

import pytest

from registry import Workspace
from scoring.errors import ModelLoadError
from tests.system.excluded_nodes import EXCLUDED, Reason, reasons_of
from tests.system.model_server import ModelServer
from tests.system.onnx_nodes import (
    NodeCase,
    answer_of,
    differences,
    fault_of,
    node_cases,
    to_json,
    with_own_answer,
)

PARTS = 24
SERVED_DTYPES = {
    *("FLOAT16", "FLOAT", "DOUBLE", "BFLOAT16"),
    *("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"),
    *("INT2", "INT4", "INT8", "INT16", "INT32", "INT64"),
    *("UINT2", "UINT4", "UINT8", "UINT16", "UINT32", "UINT64"),
    *("BOOL", "STRING", "sequence"),
}
SERVED_REASONS: tuple[list[Reason], ...] = ([], [Reason.DIFFERS], [Reason.ROUNDING])

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.mark.parametrize("part", range(PARTS))
def test_a_registered_model_answers_its_node_test_over_http(
    part: int, server: ModelServer, tmp_path: Path
) -> None:
    workspace = Workspace.init(tmp_path / "workspace", base="none")
    cases = [served_case(case) for case in list(node_cases().values())[part::PARTS]]
    faults = {
        case.name: fault
        for case in cases
        if case is not None and (fault := served_fault(case, server, workspace, tmp_path))
    }
    assert faults == {}


def test_the_served_cases_cover_all_dtypes_and_nearly_all_operators() -> None:
    served = [case for case in node_cases().values() if reasons_of(case.name) in SERVED_REASONS]
    assert len(served) > 1700
    assert set().union(*(case.input_types for case in served)) == SERVED_DTYPES
    left_out = {case.op for case in node_cases().values()} - {case.op for case in served}
    assert left_out <= {case.op for case in left_out_for(Reason.NO_KERNEL)}


def test_each_left_out_test_is_left_out_for_one_reason() -> None:
    reasons = {name: reasons_of(name) for name in node_cases()}
    assert {name: found for name, found in reasons.items() if len(found) > 1} == {}


@pytest.mark.parametrize("reason", list(Reason))
def test_each_pattern_of_the_left_out_list_matches(reason: Reason) -> None:
    assert [pattern for pattern in EXCLUDED[reason] if not matching(node_cases(), pattern)] == []


def test_onnxruntime_has_no_kernel_for_what_is_left_out_for_that() -> None:
    faults = {case.name: fault_of(case) or "" for case in left_out_for(Reason.NO_KERNEL)}
    said = ("NOT_IMPLEMENTED", "is not a registered function/op")
    assert {n: f for n, f in faults.items() if not any(text in f for text in said)} == {}


def test_onnxruntime_itself_refuses_what_is_left_out_for_that() -> None:
    for case in left_out_for(Reason.REFUSES):
        with pytest.raises(Exception, match="ONNXRuntimeError"):
            answer_of(case)


@pytest.mark.parametrize("reason", [Reason.DIFFERS, Reason.RANDOM])
def test_onnxruntime_itself_answers_otherwise_than_expected(reason: Reason) -> None:
    right = []
    for case in left_out_for(reason):
        if differences(case, answer_of(case)) is None:
            right.append(case.name)
    assert right == []


def test_what_is_left_out_for_rounding_is_nearly_right() -> None:
    for case in left_out_for(Reason.ROUNDING):
        assert differences(replace(case, atol=5e-3), answer_of(case)) is None, case.name


def test_what_is_left_out_for_its_locale_is_right_where_that_is_installed() -> None:
    for case in left_out_for(Reason.LOCALE):
        fault = fault_of(case)
        assert fault is None or "locale with name:en_US.UTF-8" in fault, case.name


def test_a_model_with_an_optional_value_does_not_load_and_says_so(
    server: ModelServer, tmp_path: Path
) -> None:
    for case in left_out_for(Reason.OPTIONAL):
        assert case.has_optional
        path = tmp_path / f"{case.name}.onnx"
        path.write_bytes(case.model.SerializeToString())
        refused = pytest.raises(ModelLoadError, match=r"optional\(.* not supported")
        with refused, server.serving(path):
            pass


def served_case(case: NodeCase) -> NodeCase | None:
    """What the server must answer, if anything: where onnxruntime's own answer is not the expected
    one, the server's must be onnxruntime's."""
    reasons = reasons_of(case.name)
    if not reasons:
        return case
    if reasons[0] in (Reason.DIFFERS, Reason.ROUNDING):
        return with_own_answer(case)
    if reasons[0] is Reason.LOCALE and fault_of(case) is None:
        return case
    return None


def served_fault(
    case: NodeCase, server: ModelServer, workspace: Workspace, folder: Path
) -> str | None:
    """What is wrong with the answer of the registered and served model, or None."""
    source = folder / f"{case.name}.onnx"
    source.write_bytes(case.model.SerializeToString())
    try:
        model = workspace.models.register(source, name=case.name)
        bundle = workspace.models.bundle(model.reference, folder / case.name)
        with server.serving(bundle):
            inputs = {name: to_json(value) for name, value in case.inputs.items()}
            return differences(case, server.outputs(inputs))
    except Exception as error:  # one failure must not hide the part's others
        return f"{type(error).__name__}: {error}"


def left_out_for(reason: Reason) -> list[NodeCase]:
    return [case for case in node_cases().values() if reason in reasons_of(case.name)]
