"""Models in this process: what may be merged, that merging changes nothing, and who fails alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scoring.cost import CostModel
from scoring.dispatcher import Dispatcher
from scoring.errors import EngineError, InputError, ModelLoadError, ScoringError
from scoring.model_engine import Answered, LoadedModel, ModelEngine, prove
from scoring.onnx_engine import OnnxEngine
from scoring.rows import Tensors, key_of, rows_of
from scoring.signature import Signature, TensorSpec
from scoring.work import Work

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def _model(
    folder: Path,
    *nodes: Any,
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any]]],
    held: Sequence[Any] = (),
) -> OnnxEngine:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [helper.make_tensor_value_info(name, *info) for name, info in outputs.items()],
        list(held),
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return OnnxEngine.load(path, threads=1)


def _unary(
    folder: Path, op: str, *more: str, kind: int = FLOAT, held: Sequence[Any] = (), **options: Any
) -> OnnxEngine:
    """x [N,3] -> y, with one node."""
    return _model(
        folder,
        helper.make_node(op, ["x", *more], ["y"], **options),
        inputs={"x": (kind, ["N", 3])},
        outputs={"y": (kind, ["N", 3])},
        held=held,
    )


def _mlp(folder: Path) -> OnnxEngine:
    numbers = np.random.default_rng(1)
    held = [
        numpy_helper.from_array(numbers.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (8, 32)), ("v", (32, 4)))
    ]
    return _model(
        folder,
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["l"]),
        helper.make_node("Softmax", ["l"], ["y"], axis=1),
        helper.make_node("ArgMax", ["l"], ["label"], axis=1, keepdims=0),
        inputs={"x": (FLOAT, ["N", 8])},
        outputs={"y": (FLOAT, ["N", 4]), "label": (INT, ["N"])},
        held=held,
    )


def _table(folder: Path) -> OnnxEngine:
    """y = table[x]: fails as a whole when one row asks for what is not there."""
    table = numpy_helper.from_array(np.arange(20, dtype=np.float32).reshape(10, 2), "table")
    return _model(
        folder,
        helper.make_node("Gather", ["table", "x"], ["y"], axis=0),
        inputs={"x": (INT, ["N"])},
        outputs={"y": (FLOAT, ["N", 2])},
        held=[table],
    )


Outcome = Sequence[Answered | ScoringError]


def _run(
    load: Callable[[], LoadedModel], *batches: Sequence[Tensors], **options: Any
) -> list[Outcome]:
    """Each batch's answers, from an engine that is started and closed."""

    async def scenario() -> list[Outcome]:
        engine = ModelEngine(load, **options)
        changes: list[bool] = []
        await engine.start(lambda: changes.append(engine.ready))
        assert changes == [True]
        outcomes = []
        for batch in batches:
            answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            engine.run(batch, answer.set_result)
            outcomes.append(await answer)
        await engine.close()
        await engine.close()
        assert (engine.slots, engine.ready) == (0, False)
        return outcomes

    return asyncio.run(scenario())


def _as_lists(answer: Answered | ScoringError) -> dict[str, Any]:
    assert isinstance(answer, Answered), answer
    return {name: value.tolist() for name, value in answer.items()}


# What is merged


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda folder: _unary(folder, "Relu"), "float"),
        (lambda folder: _unary(folder, "Softmax", axis=1), "float"),
        (lambda folder: _unary(folder, "CumSum", "one", held=[_axis(1)]), "float"),
        (_mlp, "mlp"),
        (_table, "table"),
    ],
)
def test_what_is_row_by_row_is_merged(
    tmp_path: Path, make: Callable[[Path], OnnxEngine], kind: str
) -> None:
    merging = prove(make(tmp_path))
    assert merging.allowed, merging.reason
    assert merging.reason == "three rows gave the same together and alone"


def _axis(number: int) -> Any:
    return numpy_helper.from_array(np.array(number, np.int64), "one")


@pytest.mark.parametrize("kind", [FLOAT, INT], ids=["floats", "integers"])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("CumSum", ["x", "zero"], ["y"]),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
        helper.make_node("Sub", ["x", "most"], ["y"]),
        helper.make_node("Sub", ["x", "first"], ["y"]),
        helper.make_node("Mul", ["x", "count"], ["y"]),
    ],
    ids=["cumulative sum", "less the mean", "less the most", "less the first", "by their number"],
)
def test_what_depends_on_the_other_rows_is_not_merged(
    tmp_path: Path, node: Any, width: int, kind: int
) -> None:
    held = [
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array([0], np.int64), "zeros"),
    ]
    model = _model(
        tmp_path,
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[0], keepdims=1),
        helper.make_node("Gather", ["x", "zeros"], ["first"], axis=0),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["number"], axis=0),
        helper.make_node("Cast", ["number"], ["count"], to=kind),
        node,
        inputs={"x": (kind, ["N", width])},
        outputs={"y": (kind, ["N", width])},
        held=held,
    )
    merging = prove(model)
    assert not merging.allowed
    assert merging.reason == "a row's outputs depend on the other rows"


def test_a_softmax_over_the_rows_is_not_merged(tmp_path: Path) -> None:
    merging = prove(_unary(tmp_path, "Softmax", axis=0))
    assert merging.reason == "a row's outputs depend on the other rows"


def test_a_mean_over_the_rows_is_not_merged_though_the_model_says_it_has_rows(
    tmp_path: Path,
) -> None:
    merging = prove(_unary(tmp_path, "ReduceMean", axes=[0], keepdims=1))
    assert merging.reason == "the first dimension of 'y' is fixed", "onnxruntime knows better"


def test_a_choice_of_rows_is_not_merged(tmp_path: Path) -> None:
    model = _model(
        tmp_path,
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Compress", ["x", "positive"], ["y"], axis=0),
        inputs={"x": (FLOAT, ["N"])},
        outputs={"y": (FLOAT, ["M"])},
        held=[numpy_helper.from_array(np.array(0, np.float32), "zero")],
    )
    assert prove(model).reason == "an output has not one entry for each row"


def test_a_fixed_first_dimension_is_not_merged(tmp_path: Path) -> None:
    model = _model(
        tmp_path,
        helper.make_node("Relu", ["x"], ["y"]),
        inputs={"x": (FLOAT, [1, 3])},
        outputs={"y": (FLOAT, [1, 3])},
    )
    assert prove(model).reason == "the first dimension of 'x' is fixed"


def test_what_fails_on_made_up_values_is_not_merged_and_runs_anyway(tmp_path: Path) -> None:
    """A window of four that a row of one has not."""
    model = _model(
        tmp_path,
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[4]),
        inputs={"x": (FLOAT, ["N", 1, "L"])},
        outputs={"y": (FLOAT, ["N", 1, "M"])},
    )
    assert prove(model).reason == "it fails on made-up values, so nothing could be tried"
    ((answer,),) = _run(lambda: model, [{"x": np.arange(8, dtype=np.float32).reshape(1, 1, 8)}])
    assert _as_lists(answer) == {"y": [[[3, 4, 5, 6, 7]]]}


# What merging gives


def test_a_merged_run_gives_what_single_runs_give(tmp_path: Path) -> None:
    numbers = np.random.default_rng(2)
    items = [
        {"x": numbers.standard_normal((count, 8)).astype(np.float32)} for count in (1, 3, 1, 2, 5)
    ]
    together, *single = _run(lambda: _mlp(tmp_path), items, *([item] for item in items))
    assert {len(answer.batch.counts) for answer in together if isinstance(answer, Answered)} == {5}
    for merged, (alone,), item in zip(together, single, items, strict=True):
        assert isinstance(merged, Answered)
        assert isinstance(alone, Answered)
        assert list(merged) == ["y", "label"]
        assert merged["y"].shape == (len(item["x"]), 4)
        np.testing.assert_allclose(merged["y"], alone["y"], rtol=1e-4, atol=1e-7)
        assert merged["label"].tolist() == alone["label"].tolist()


def test_one_bad_row_fails_alone(tmp_path: Path) -> None:
    items = [{"x": np.array(x, np.int64)} for x in ([1], [2, 3], [99], [4])]
    (answers,) = _run(lambda: _table(tmp_path), items)
    assert _as_lists(answers[0]) == {"y": [[2, 3]]}
    assert _as_lists(answers[1]) == {"y": [[4, 5], [6, 7]]}
    assert isinstance(answers[2], ScoringError)
    assert "/" not in str(answers[2])
    assert _as_lists(answers[3]) == {"y": [[8, 9]]}


def test_requests_that_bring_weights_are_not_put_together(tmp_path: Path) -> None:
    """Of two weights of one number each, put together, every row would get both."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", FLOAT, ["N", None]),
            helper.make_tensor_value_info("w", FLOAT, [None]),
        ],
        [helper.make_tensor_value_info("y", FLOAT, ["N", None])],
        [numpy_helper.from_array(np.array([10], np.float32), "w")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    one = np.ones((1, 1), np.float32)
    items = [{"x": one, "w": np.array([w], np.float32)} for w in (2, 3)]
    assert key_of(items[0]) == key_of(items[1])
    weighted, plain = _run(
        lambda: OnnxEngine.load(path, threads=1), items, [{"x": one}, {"x": one}]
    )
    assert [_as_lists(answer) for answer in weighted] == [{"y": [[2]]}, {"y": [[3]]}]
    assert [_as_lists(answer) for answer in plain] == [{"y": [[10]]}, {"y": [[10]]}]


class FakeModel:
    """Doubles x [N]; remembers what ran where; does what ``before`` says first."""

    def __init__(self, before: Callable[[Any], None] = lambda x: None) -> None:
        self.signature = Signature(
            (TensorSpec("x", "float32", ("N",)),), (TensorSpec("y", "float32", ("N",)),)
        )
        self.before = before
        self.ran: list[list[float]] = []
        self.threads: list[str] = []
        self.is_closed = False

    def run(self, inputs: Tensors) -> Tensors:
        x = inputs["x"]
        self.ran.append(x.tolist())
        self.threads.append(threading.current_thread().name)
        self.before(x)
        return {"y": x * 2}

    def close(self) -> None:
        self.is_closed = True


def _items(*values: float) -> list[Tensors]:
    return [{"x": np.array([value], np.float32)} for value in values]


@pytest.mark.parametrize("error", [InputError("13"), EngineError("13"), KeyError("a bug")])
def test_whatever_a_bad_item_raises_its_neighbours_are_answered(error: Exception) -> None:
    def before(x: Any) -> None:
        if 13 in x:
            raise error

    answers, (alone,) = _run(lambda: FakeModel(before), _items(1, 13, 3), _items(13))
    assert _as_lists(answers[0]) == {"y": [2]}
    assert _as_lists(answers[2]) == {"y": [6]}
    for answer in (answers[1], alone):
        assert isinstance(answer, ScoringError)
        assert str(answer) == ("internal error: KeyError" if error.args == ("a bug",) else "13")


def test_a_merged_run_of_the_wrong_rows_is_taken_apart() -> None:
    model = FakeModel()
    whole = model.run

    def run(inputs: Tensors) -> Tensors:
        outputs = whole(inputs)
        return {"y": outputs["y"][:2]} if len(inputs["x"]) == 4 else outputs

    model.run = run  # type: ignore[method-assign]
    (answers,) = _run(lambda: model, _items(1, 2, 3, 4))
    assert [_as_lists(answer)["y"] for answer in answers] == [[2], [4], [6], [8]]


# Oversize requests


def _ran_after_start(model: FakeModel, rows: int, **options: Any) -> tuple[list[int], Any]:
    started: list[int] = []

    def load() -> FakeModel:
        return model

    async def scenario() -> Any:
        engine = ModelEngine(load, **options)
        await engine.start(lambda: None)
        started.append(len(model.ran))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        engine.run([{"x": np.arange(rows, dtype=np.float32)}], answer.set_result)
        (found,) = await answer
        await engine.close()
        return found

    found = asyncio.run(scenario())
    return [len(x) for x in model.ran[started[0] :]], found


def test_a_request_of_more_rows_than_a_batch_is_not_split() -> None:
    sizes, _ = _ran_after_start(FakeModel(), 50, max_batch=8)
    assert sizes == [50]


def test_where_it_is_allowed_it_runs_in_pieces_and_comes_back_whole() -> None:
    sizes, answer = _ran_after_start(FakeModel(), 50, max_batch=8, split_rows=20)
    assert sizes == [20, 20, 10]
    assert _as_lists(answer) == {"y": [2.0 * n for n in range(50)]}


def test_it_is_never_split_where_rows_depend_on_each_other() -> None:
    model = FakeModel()
    whole = model.run

    def run(inputs: Tensors) -> Tensors:
        return {"y": whole(inputs)["y"] - inputs["x"].mean()}

    model.run = run  # type: ignore[method-assign]
    sizes, _ = _ran_after_start(model, 50, split_rows=20)
    assert sizes == [50]


# Where it runs, and the start


def test_what_is_quick_runs_on_the_loop_and_what_is_slow_on_the_thread() -> None:
    model, cost = FakeModel(), CostModel()

    async def scenario() -> None:
        engine = ModelEngine(lambda: model, cost=cost, inline_s=0.01)
        await engine.start(lambda: None)
        assert cost.known
        assert all(name.startswith("model") for name in model.threads), "the start runs aside"
        model.threads.clear()
        answers: list[Any] = []
        engine.run(_items(1), answers.append)
        assert len(answers) == 1, "answered before run() returned"
        for _ in range(300):
            cost.observe(1, 1.0)
        engine.run(_items(2), answers.append)
        assert len(answers) == 1
        while len(answers) < 2:
            await asyncio.sleep(0)
        await engine.close()
        assert model.threads[0] == threading.current_thread().name
        assert model.threads[1].startswith("model")

    asyncio.run(scenario())


def test_warming_up_measures_the_ladder_of_batches() -> None:
    model, cost = FakeModel(), CostModel()
    _run(lambda: model, cost=cost, max_batch=20)
    assert {len(x) for x in model.ran} == {1, 2, 3, 4, 8, 16}
    assert cost.known


@pytest.mark.slow
def test_nothing_is_measured_beyond_its_time() -> None:
    def before(x: Any) -> None:
        until = time.perf_counter() + 0.06 * len(x)
        while time.perf_counter() < until:
            pass

    model = FakeModel(before)
    cost = CostModel()
    _run(lambda: model, cost=cost, max_batch=32)
    assert max(len(x) for x in model.ran[4:]) <= 2


def test_a_model_that_fails_on_made_up_values_starts_unmeasured() -> None:
    def before(x: Any) -> None:
        if abs(x).max() < 100:
            raise InputError("too small")

    cost = CostModel()
    ((answer,),) = _run(lambda: FakeModel(before), _items(200), cost=cost)
    assert not cost.known
    assert _as_lists(answer) == {"y": [400]}


def test_a_model_that_does_not_load_says_so() -> None:
    def load() -> FakeModel:
        raise ModelLoadError("no model")

    async def scenario() -> None:
        engine = ModelEngine(load)
        assert (engine.slots, engine.ready, engine.merging.allowed) == (0, False, False)
        with pytest.raises(ModelLoadError):
            await engine.start(lambda: None)
        assert not engine.ready
        await engine.close()

    asyncio.run(scenario())


def test_closing_frees_the_model() -> None:
    model = FakeModel()
    _run(lambda: model)
    assert model.is_closed


def test_a_bad_item_fails_alone_through_the_dispatcher_with_batches_of_a_real_model(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        cost = CostModel()
        engine = ModelEngine(lambda: _table(tmp_path), cost=cost)
        dispatcher: Dispatcher[Tensors, Answered] = Dispatcher(engine, queue_limit=99, cost=cost)
        await dispatcher.start()
        cost.pays = True

        def work(value: int, done: Any) -> Work[Tensors, Answered]:
            inputs = {"x": np.array([value], np.int64)}
            return Work(inputs, done, rows=rows_of(inputs), key=key_of(inputs))

        values = [1, 2, 99, 3, -77, 4]
        answers = await asyncio.gather(
            *(dispatcher.ask(lambda done, v=v: work(v, done)) for v in values),  # type: ignore[misc]
            return_exceptions=True,
        )
        for value, answer in zip(values, answers, strict=True):
            if value in (99, -77):
                assert isinstance(answer, ScoringError)
            else:
                assert isinstance(answer, Answered)
                assert answer["y"].tolist() == [[2 * value, 2 * value + 1]]
        assert dispatcher.batches == 1, "they did share a batch"
        await dispatcher.close()

    asyncio.run(scenario())
