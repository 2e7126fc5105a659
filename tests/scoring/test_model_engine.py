"""Models in this process: merging changes nothing, a bad item fails alone, and where they run."""

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
from onnx import helper, numpy_helper

from scoring.cost import CostModel
from scoring.dispatcher import Dispatcher
from scoring.errors import EngineError, InputError, ModelLoadError, ScoringError
from scoring.model_engine import Answered, LoadedModel, ModelEngine
from scoring.onnx_engine import OnnxEngine
from scoring.rows import Tensors, key_of, rows_of
from scoring.signature import Signature, TensorSpec
from scoring.work import Work
from tests.scoring.desk import ask
from tests.scoring.little_models import FLOAT, FakeModel, mlp, table

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


# What merging gives


def test_a_merged_run_gives_what_single_runs_give(tmp_path: Path) -> None:
    numbers = np.random.default_rng(2)
    items = [
        {"x": numbers.standard_normal((count, 8)).astype(np.float32)} for count in (1, 3, 1, 2, 5)
    ]
    together, *single = _run(lambda: mlp(tmp_path), items, *([item] for item in items))
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
    (answers,) = _run(lambda: table(tmp_path), items)
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


def test_a_bad_item_fails_alone_through_the_dispatcher_with_batches_of_a_real_model(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        cost = CostModel()
        engine = ModelEngine(lambda: table(tmp_path), cost=cost)
        dispatcher: Dispatcher[Tensors, Answered] = Dispatcher(engine, queue_limit=99, cost=cost)
        await dispatcher.start()
        cost.pays = True

        def work(value: int, done: Any) -> Work[Tensors, Answered]:
            inputs = {"x": np.array([value], np.int64)}
            return Work(inputs, done, rows=rows_of(inputs), key=key_of(inputs))

        values = [1, 2, 99, 3, -77, 4]
        answers = await asyncio.gather(
            *(ask(dispatcher, lambda done, v=v: work(v, done)) for v in values),  # type: ignore[misc]
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


class WordModel(FakeModel):
    """Takes rows of any length, and longer for long ones."""

    def __init__(self) -> None:
        super().__init__(lambda x: time.sleep(0.05 if x.shape[1] > 100 else 0))
        self.signature = Signature(
            (TensorSpec("x", "float32", ("N", "words")),), (TensorSpec("y", "float32", ("N", "w")),)
        )


def test_a_row_longer_than_any_that_was_quick_runs_on_the_thread() -> None:
    model = WordModel()

    def batch(words: int) -> list[Tensors]:
        return [{"x": np.ones((1, words), np.float32)}]

    cost = CostModel()
    cost.observe(1, 1e-4)
    sizes = (10, 10, 15, 1000, 10, 1000, 10)
    _run(lambda: model, *map(batch, sizes), cost=cost, inline_s=0.01)
    loop = threading.current_thread().name
    assert [name == loop for name in model.threads[-7:]] == [
        False,
        True,
        True,
        False,
        True,
        False,
        True,
    ]


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
