"""What an agent must know after a restart: what it shall run, how often it was started, and which
commands it has done. In state.db, beside the tables of others; one agent has it at a time.

    with StateLock(folder):
        state = AgentState(folder)
        epoch = state.begin_epoch(int(time.time()))
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge.agent.ballast import Ballast
from edge.errors import ConfigError, ConflictError, InvalidMessageError
from edge.messages.codec import decode, encode
from edge.messages.commands import Reply
from edge.messages.desired import Desired

log = logging.getLogger(__name__)
DATABASE = "state.db"
KEPT_COMMANDS = 512
KEPT_REPLY_BYTES = 64 * 1024
BUSY_S = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS agent_facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS agent_desired (id INTEGER PRIMARY KEY CHECK (id = 1),
                                          version INTEGER NOT NULL, document BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS agent_commands (number INTEGER PRIMARY KEY AUTOINCREMENT,
                                           id TEXT NOT NULL UNIQUE, reply BLOB);
"""


class StateLock:
    """A folder of state belongs to one agent at a time; the kernel frees it when that ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "agent.lock"
        self._file: int | None = None

    def __enter__(self) -> StateLock:
        """Raises ConflictError when another agent has it, ConfigError when it cannot be made."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(
                f"the state folder {self._path.parent} cannot be written ({error.strerror});"
                " 'state' in agent.toml says where it is"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.__exit__(None, None, None)
            raise ConflictError(
                f"another agent runs with the state folder {self._path.parent}; stop it first"
            ) from error
        with contextlib.suppress(OSError):  # a full disk; the lock is what counts
            number = f"{os.getpid()}\n".encode()
            os.pwrite(self._file, number, 0)
            os.ftruncate(self._file, len(number))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def lock_holder(folder: Path) -> int | None:
    """The process that runs as the agent of this folder. None: there is none."""
    try:
        file = os.open(folder / "agent.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(ValueError):
            return int(os.read(file, 32).split(b"\n")[0])
        return 0
    finally:
        os.close(file)
    return None


@dataclass(frozen=True, slots=True)
class Seen:
    """A command that came before. ``reply`` None: it was begun, and its end is not known."""

    reply: Reply | None


class AgentState:
    """Any thread may call it."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError when the file cannot be used. One that is damaged is put aside: the
        hub says again what shall run. On a full disk the ballast makes room."""
        self.path = folder / DATABASE
        self.was_damaged = False
        self._lock = threading.Lock()
        self._ballast = Ballast(folder)
        try:
            self._connection = self._open()
        except sqlite3.OperationalError as error:
            self._connection = self._open_with_ballast(error)
        except sqlite3.DatabaseError:
            _put_aside(self.path)
            self.was_damaged = True
            self._connection = self._open()

    def close(self) -> None:
        """Nothing can be asked afterwards."""
        with self._lock:
            self._connection.close()
            self._ballast.keep(is_end=True)

    def begin_epoch(self, wall_s: int) -> int:
        """A number above that of every start before. The clock helps when the file was lost: with
        it, and with a clock that is right, the number still grows. So it does where the disk is too
        full to keep it: what ran runs all the same."""
        try:
            return self._begin_epoch(wall_s)
        except sqlite3.OperationalError:
            self._ballast.release()
        try:
            return self._begin_epoch(wall_s)
        except sqlite3.OperationalError as error:
            log.warning("the number of this start cannot be kept: %s; free some space", error)
            return max(self._last_epoch() + 1, wall_s)

    def _begin_epoch(self, wall_s: int) -> int:
        with self._write() as connection:
            epoch = max(self._last_epoch() + 1, wall_s)
            connection.execute(
                "INSERT INTO agent_facts VALUES ('epoch', ?1)"
                " ON CONFLICT (name) DO UPDATE SET value = ?1",
                (epoch,),
            )
        self._ballast.keep()
        return epoch

    def _last_epoch(self) -> int:
        row = self._connection.execute("SELECT value FROM agent_facts WHERE name = 'epoch'")
        return int((row.fetchone() or (0,))[0])

    def desired(self) -> Desired | None:
        """What was kept last."""
        with self._lock:
            row = self._connection.execute("SELECT document FROM agent_desired").fetchone()
        if row is None:
            return None
        try:
            return decode(row[0], Desired, max_bytes=len(row[0]))
        except InvalidMessageError:
            return None  # of a later version of this program, which was taken back

    def keep_desired(self, desired: Desired) -> None:
        """Durable when this returns."""
        with self._write() as connection:
            connection.execute(
                "INSERT INTO agent_desired VALUES (1, ?1, ?2)"
                " ON CONFLICT (id) DO UPDATE SET version = ?1, document = ?2",
                (desired.version, encode(desired)),
            )

    def begin_command(self, id: str) -> Seen | None:
        """None: it is new, and is now known."""
        with self._write() as connection:
            row = connection.execute("SELECT reply FROM agent_commands WHERE id = ?", (id,))
            found = row.fetchone()
            if found is not None:
                if found[0] is None:
                    return Seen(None)
                return Seen(decode(found[0], Reply, max_bytes=len(found[0])))
            connection.execute("INSERT INTO agent_commands (id) VALUES (?)", (id,))
            connection.execute(
                "DELETE FROM agent_commands WHERE number <="
                " (SELECT max(number) FROM agent_commands) - ?",
                (KEPT_COMMANDS,),
            )
        return None

    def end_command(self, reply: Reply) -> None:
        """What was answered; a long answer is not kept, only that there was one."""
        if len(reply.text) > KEPT_REPLY_BYTES:
            reply = Reply(
                v=reply.v, id=reply.id, ok=False, error="done already; ask anew for its long answer"
            )
        with self._write() as connection:
            connection.execute(
                "UPDATE agent_commands SET reply = ? WHERE id = ?", (encode(reply), reply.id)
            )

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def _open_with_ballast(self, error: sqlite3.OperationalError) -> sqlite3.Connection:
        if self._ballast.release():
            with contextlib.suppress(sqlite3.OperationalError):
                return self._open()
        raise ConfigError(f"{self.path} cannot be used: {error}") from error

    def _open(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):  # it has the modules' environments; -wal and -shm follow
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.chmod(self.path, 0o600)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -256")
            found = connection.execute("PRAGMA quick_check").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection


def _put_aside(path: Path) -> None:
    """The damaged file and what belongs to it, for who wants to look at it."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(path, path.with_name(path.name + ".damaged"))
