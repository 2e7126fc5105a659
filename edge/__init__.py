"""Devices: the agent that runs modules on one, and the hub that says which. They meet on MQTT.

    topics.py      where messages go            messages/   what they say
    layering.py    deployments -> what one device shall run
    hub/           devices, deployments, rollouts, telemetry, in one database beside the workspace
    enrolment/     certificates for devices, configuration for the broker
    broker/        an embedded broker, for a laptop
    link/          one MQTT connection, kept up
    agent/         the loops of a device, and its commands
    pull/          images from the workspace's registry, resumed over any link
    hosts/         where modules run: Docker, or plain processes
    switch/        old version to new behind a gate, or back
    outbox/        telemetry that is not lost
    telemetry/     what is measured on a device

Nothing here needs onnxruntime or numpy: what a module needs, its image brings.
"""
