"""The worker process: one score.py behind one socket.

    python -m scoring.worker --fd N

``N`` is the inherited end of an AF_UNIX stream socket; scoring/script/frames.py has the frames. The
process loads the script as its environment says (scoring/azure/config.py), sends Ready or
LoadFailed (and exits with 3), then answers one ScoreRequest after the other in its main thread
until the server closes the socket.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import traceback
from collections.abc import Iterable, Sequence

from scoring.azure import (
    alarm,
    batch,
    config,
    entry_script,
    imports,
    logging_config,
    merging,
    outputs,
    process,
    swagger,
)
from scoring.azure.channel import Channel, Closed
from scoring.azure.merging import Joint
from scoring.script import frames

LOAD_FAILED = 3
"""Exit code; gunicorn's for a worker that failed to boot."""

logger = logging.getLogger("azmlinfsrv")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the server closes the socket; returns the exit code."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    parser = argparse.ArgumentParser(prog="python -m scoring.worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    with socket.socket(fileno=parser.parse_args(arguments).fd) as sock:
        sock.set_inheritable(False)
        process.settle(sock)
        channel = Channel(sock)
        try:
            loaded = _load(channel)
            return LOAD_FAILED if loaded is None else _serve(channel, *loaded)
        except Closed:
            return 0


def _load(channel: Channel) -> tuple[entry_script.EntryScript, Joint | None] | None:
    """The script after init() and how it answers a batch, or None when it cannot serve; the server
    has been told."""
    try:
        settings = config.read_config(os.environ)
        logging_config.set_up(settings.app_root, settings.entry_script)
        logging_config.redirect_print()
        imports.install()
        script = entry_script.load(settings)
        script.init()
        documents, versions = swagger.documents(settings, script.run)
    except entry_script.LoadError as error:
        _fail(channel, error.stage, error)
        return None
    except (ValueError, OSError) as error:  # config.json, logging.json, swagger.json
        _fail(channel, "check", error)
        return None
    joint, reason = merging.choose(
        script, merges=settings.merges, before_proof=lambda: channel.send(frames.Proving())
    )
    logger.info("Scoring timeout is set to %s", settings.scoring_timeout_ms)
    logger.info("Worker with pid %s ready for serving traffic", os.getpid())
    channel.send(
        frames.Ready(script.mode, os.getpid(), documents, versions, joint is not None, reason)
    )
    return script, joint


def _fail(channel: Channel, stage: str, error: Exception) -> None:
    traceback.print_exception(error)
    sys.stderr.flush()
    channel.send(frames.LoadFailed(stage, str(error)))


def _serve(channel: Channel, script: entry_script.EntryScript, joint: Joint | None) -> int:
    alarm.install()
    while True:
        message, body_bytes = channel.receive_head()
        if isinstance(message, frames.ScoreRequest):
            _send(channel, script.call(message, channel.take(body_bytes)))
        elif isinstance(message, frames.ScoreBatch):
            bodies = [channel.take(size) for size in message.body_bytes]
            batch.answer_batch(
                script,
                joint,
                list(zip(message.requests, bodies, strict=True)),
                lambda answers: channel.send_all([_reply(*answer) for answer in answers]),
                lambda: channel.send(frames.Progress()),
            )
        else:
            logger.error("the server sent a %s frame", type(message).__name__)
            return 1


def _send(channel: Channel, answer: outputs.Answer) -> None:
    if isinstance(answer.body, bytes):
        channel.send(*_reply(0, answer))
    else:
        _stream(channel, answer, answer.body)


def _reply(index: int, answer: outputs.Answer) -> tuple[frames.Reply, bytes]:
    """A whole answer as a frame."""
    assert isinstance(answer.body, bytes)
    reply = frames.Reply(
        answer.status, answer.headers, answer.run_ms, answer.failed, answer.internal_error, index
    )
    return reply, answer.body


def _stream(channel: Channel, answer: outputs.Answer, chunks: Iterable[bytes]) -> None:
    """The head goes out with the first chunk: a generator that fails at once still gets a 500."""
    iterator = iter(chunks)
    try:
        chunk = next(iterator, None)
    except BaseException:
        logger.exception("Encountered Exception: the stream failed before its first chunk")
        _send(channel, outputs.internal_error())
        return
    channel.send(frames.StreamHead(answer.status, answer.headers, answer.run_ms))
    broken = False
    try:
        while chunk is not None:
            if chunk:
                channel.send(frames.StreamChunk(), chunk)
            chunk = next(iterator, None)
    except Closed:
        raise
    except BaseException:
        logger.exception("Encountered Exception: the stream failed")
        broken = True
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    channel.send(frames.StreamEnd(broken))


if __name__ == "__main__":
    sys.exit(main())
