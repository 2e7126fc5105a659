"""An embedded MQTT 5 broker, for a laptop and for tests."""
