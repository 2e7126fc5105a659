from __future__ import annotations

from edge.agent import machine, memory


def test_what_is_free_is_given_back() -> None:
    memory.one_arena()
    kept = [bytearray(30_000) for _ in range(3000)]
    full = machine.resident_bytes()
    del kept
    memory.give_back()
    assert machine.resident_bytes() < full - 40_000_000
