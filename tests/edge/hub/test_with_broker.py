"""The hub, mosquitto and a device's link, all real; the broker keeps nothing and is restarted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.edge.ingest import measure_broker
from benchmarks.edge.simulated import Load
from edge import topics
from edge.hub import command_queue, devices
from edge.hub.database import Database
from edge.hub.service import HubService, now_ms
from edge.link.mqtt import LinkConfig, MqttLink
from edge.link.port import Message
from edge.messages import codec
from edge.messages.commands import Command, Reply
from edge.messages.desired import Desired
from edge.messages.telemetry import Ack, StreamAck
from tests.broker import Mosquittos
from tests.edge.hub.fakes import batch, packed, wait_for
from tests.edge.hub.test_devices import status

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def link(client: str, port: int) -> MqttLink:
    config = LinkConfig(client, "127.0.0.1", port, min_wait_s=0.02, max_wait_s=0.1, will_delay_s=0)
    return MqttLink(config)


class Device:
    """Keeps what it hears, sends its birth at each connection, answers commands once."""

    def __init__(self, port: int, name: str = "a") -> None:
        self.link = link(name, port)
        self.heard: list[Message] = []
        birth = Message(topics.topic(name, topics.STATUS), codec.encode(status(1)), True)
        will = Message(birth.topic, codec.encode(status(1, online=False)), True)

        def on_connected() -> None:
            self.link.publish(birth)

        def on_message(message: Message) -> None:
            self.heard.append(message)
            if message.topic.endswith(topics.COMMAND):
                command = codec.decode(message.payload, Command)
                reply = Reply(codec.VERSION, command.id, True, "pong")
                self.link.publish(Message(topics.topic(name, topics.REPLY), codec.encode(reply)))

        self.link.start(
            subscriptions=topics.downward_filters(name),
            on_message=on_message,
            on_connected=on_connected,
            will=will,
        )

    def desired(self) -> list[int]:
        sent = [one.payload for one in self.heard if one.topic.endswith(topics.DESIRED)]
        return [codec.decode(payload, Desired).version for payload in sent]

    def acks(self) -> list[list[StreamAck]]:
        sent = [one.payload for one in self.heard if one.topic.endswith(topics.ACK)]
        return [codec.decode(payload, Ack).streams for payload in sent]


def is_online(database: Database) -> bool:
    with database.reader() as connection:
        return devices.get(connection, "a").is_online


def test_everything_goes_on_after_a_broker_that_has_lost_all(
    database: Database, mosquittos: Mosquittos
) -> None:
    broker = mosquittos()
    service = HubService(
        database, link("hub", broker.port), lambda _, name: Desired(codec.VERSION, name, 7)
    )
    service.start()
    device = Device(broker.port)
    try:
        wait_for(lambda: is_online(database))
        wait_for(lambda: 7 in device.desired())
        wait_for(lambda: device.acks())
        first = Message(topics.topic("a", topics.TELEMETRY), packed(batch(1, 3)))
        assert device.link.publish(first)
        wait_for(lambda: [StreamAck(0, 3)] in device.acks())
        id = command_queue.send(database, "a", "ping", now_ms=now_ms())
        assert command_queue.wait(database, id, timeout_s=10).text == "pong"
        broker.kill()
        wait_for(lambda: not service.is_connected and not device.link.is_connected)
        later = command_queue.send(database, "a", "ping", now_ms=now_ms())
        known = len(device.desired())
        broker.start()
        assert command_queue.wait(database, later, timeout_s=15).text == "pong"
        wait_for(lambda: len(device.desired()) > known)
        second = Message(topics.topic("a", topics.TELEMETRY), packed(batch(1, 6)))
        assert device.link.publish(second)
        wait_for(lambda: [StreamAck(0, 6)] in device.acks())
        assert service.is_healthy
    finally:
        device.link.stop()
        service.stop()


@pytest.mark.usefixtures("mosquittos")
def test_the_measure_goes_through_a_broker(tmp_path: Path) -> None:
    figure = measure_broker(Load(devices=2, batches=5, records=4), tmp_path)
    assert figure.details["records"] == 40
