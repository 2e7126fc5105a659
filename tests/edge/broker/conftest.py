"""Both brokers, for the suite that both must pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge.broker import Broker, BrokerConfig
from tests.edge.broker.clients import Place


@pytest.fixture(
    params=["embedded", pytest.param("mosquitto", marks=[pytest.mark.broker, pytest.mark.slow])]
)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Where a broker listens that lets everybody do everything."""
    if request.param == "mosquitto":
        start = request.getfixturevalue("mosquittos")
        yield Place(start("log_type all").port)
    else:
        with Broker(BrokerConfig()) as broker:
            yield Place(broker.port)
