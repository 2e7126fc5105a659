"""An embedded MQTT 5 broker, for a laptop and for tests.

    wire.py, packets.py   bytes <-> packets          filters.py   + and #
    session.py            what is held for a client  exchange.py  who gets what
    rules.py              who may say what           connection.py, broker.py   the network

docs/decisions/0007-an-embedded-broker.md says why it is ours.
"""

from edge.broker.broker import Broker, BrokerConfig, BrokerTls
from edge.broker.rules import DeviceRules, OpenRules, Rules
from edge.broker.session import Limits

__all__ = ["Broker", "BrokerConfig", "BrokerTls", "DeviceRules", "Limits", "OpenRules", "Rules"]
