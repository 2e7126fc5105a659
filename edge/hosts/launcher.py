"""The parent of one module's process: it outlives the agent, writes down what happens, and holds a
lock as long as it lives. Runs as a program of its own, with nothing but the standard library:

    python -I -S launcher.py FOLDER LOCK_FD

FOLDER has spec.json (written by run_folder.py); LOCK_FD is the lock on FOLDER/lock, inherited from
the agent: from the fork on there is no moment at which a process runs and the lock is free. It
writes its number into the lock file (which has room for it, also on a full disk), record.json (who
runs, and where it answers), log and log.1 (what it prints), and end.json (how it ended). SIGTERM
and SIGHUP go on to the module; SIGUSR1 kills it and all it has started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
NUMBER_BYTES = 20
WATCH_S = 0.25
END_S = 5.0
"""For what was killed to be gone."""
PAUSE_S = 0.0005
"""Short: what forks and ends all the time is gone from where it was seen a moment ago."""
LISTENING = b"Listening on http"
MAX_PORT = 65_535
OTHERS = 4096
"""Processes and threads of other modules."""
LAST_WORDS_BYTES = 4096
OUT_OF_MEMORY = (b"MemoryError", b"bad_alloc", b"Cannot allocate memory", b"BFCArena")
"""What a program says that got no more memory."""
OOM_SCORE = "500"
"""Where the machine's memory runs out, a module goes before the agent."""
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_libc = ctypes.CDLL(None, use_errno=True)


def main(folder: str, lock: int) -> int:
    """Start the module and return; the process that watches it goes on. Prints why it cannot."""
    os.set_inheritable(lock, False)
    os.chdir(folder)
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        said = b"".join(iter(lambda: os.read(told, 4096), b""))
        if said != b"started":
            print(said.decode(errors="replace") or "it ended at once")
        return 0 if said == b"started" else 1
    code = 1
    try:
        os.setsid()
        os.pwrite(lock, f"{os.getpid():<{NUMBER_BYTES}}".encode(), 0)
        _quiet()
        watch(tell)
        code = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(tell, str(error).encode()[:4000])
    os._exit(code)


def watch(tell: int) -> None:
    """Until the module has ended, and how is written down."""
    with open("spec.json", "rb") as file:
        spec = json.load(file)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (*PASSED_ON, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output, pid = _start(spec)
    record = {"launcher": os.getpid(), "pid": pid, "started_at_s": time.time(), "port": None}
    put("record.json", record)
    os.write(tell, b"started")
    os.close(tell)

    def answers(port: int) -> None:
        put("record.json", {**record, "port": port})

    log = Log("log", int(spec["log_bytes"]), answers)
    _Watched(spec, pid, output, woken, log).follow()


class _Watched:
    """The module under way."""

    def __init__(
        self, spec: Mapping[str, Any], pid: int, output: int, woken: int, log: Log
    ) -> None:
        self._spec, self._pid, self._output, self._woken, self._log = spec, pid, output, woken, log
        self._is_out_of_memory = False

    def follow(self) -> None:
        """Its output, signals and limits, to its end."""
        watches = self._spec["memory_bytes"] or self._spec["processes"]
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        due = time.monotonic() + WATCH_S
        while True:
            wait_ms = max(0, int((due - time.monotonic()) * 1000)) if watches else None
            ready = dict(poll.poll(wait_ms))
            if self._output in ready and not self._hear():
                poll.unregister(self._output)
            if self._woken in ready and not self._heed():
                break
            if watches and time.monotonic() >= due:
                due = time.monotonic() + WATCH_S
                self._weigh()
        self._end()

    def _hear(self) -> bool:
        """False when it has closed its output."""
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return True
        self._log.write(data)
        return bool(data)

    def _heed(self) -> bool:
        """Signals that came; False when the module has ended."""
        for number in os.read(self._woken, 512):
            if number in PASSED_ON:
                os.kill(self._pid, number)
            elif number == signal.SIGUSR1:
                self._kill()
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if ended is None:
                return True
            if ended.si_pid == self._pid:
                return False
            os.waitpid(ended.si_pid, 0)  # one that a process of the module has left behind

    def _weigh(self) -> None:
        """Memory and processes of all that it has started, where no cgroup bounds them."""
        if self._spec["cgroup"]:
            return
        # Also those whose parent has ended, so that they are ours now.
        found = [each for each in _descendants(os.getpid()) if each != os.getpid()]
        memory, most = self._spec["memory_bytes"], self._spec["processes"]
        if memory and sum(map(_resident, found)) > memory and sum(map(_own, found)) > memory:
            self._is_out_of_memory = True
            words = f"inferry: ended for taking too much memory: more than {memory} bytes\n"
            self._log.write(words.encode())
            self._kill()
        elif most and sum(map(_threads, found)) > most:
            self._log.write(f"inferry: ended, as it had more than {most} processes\n".encode())
            self._kill()

    def _kill(self) -> None:
        """It, its group, and what has left its group."""
        with contextlib.suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)
        if self._spec["cgroup"]:
            with (
                contextlib.suppress(OSError),
                open(f"{self._spec['cgroup']}/cgroup.kill", "w") as f,
            ):
                f.write("1")
        for each in list(_descendants(os.getpid())):
            if each != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(each, signal.SIGKILL)

    def _end(self) -> None:
        """What it has left behind goes with it; its number is given back only then."""
        deadline = time.monotonic() + END_S
        while True:
            self._kill()
            left = [each for each in _children(os.getpid()) if each != self._pid]
            if not left or time.monotonic() > deadline:
                break
            for each in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(each, os.WNOHANG)
            time.sleep(PAUSE_S)
        with contextlib.suppress(OSError):
            while self._hear_rest():
                pass
        _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        put(
            "end.json",
            {
                "exit_code": 128 - code if code < 0 else code,
                "is_out_of_memory": self._was_out_of_memory(code),
            },
        )

    def _hear_rest(self) -> bool:
        data = os.read(self._output, 65536)  # BlockingIOError: whoever holds it is not ours
        self._log.write(data)
        return bool(data)

    def _was_out_of_memory(self, code: int) -> bool:
        if code == 0:
            return False
        if self._spec["cgroup"]:
            with (
                contextlib.suppress(OSError),
                open(f"{self._spec['cgroup']}/memory.events") as file,
            ):
                counts = dict(line.split() for line in file)
                if int(counts.get("oom_kill", 0)):
                    return True
        said = self._spec["memory_bytes"] and any(w in self._log.last for w in OUT_OF_MEMORY)
        return self._is_out_of_memory or bool(said)


class Log:
    """What the module prints: at most twice ``limit_bytes`` on disk. A full disk loses lines, and
    nothing else. ``answers`` is called with the port of its line "Listening on"."""

    def __init__(self, path: str, limit_bytes: int, answers: Callable[[int], None]) -> None:
        self._path, self._limit_bytes, self._answers = path, limit_bytes, answers
        self._file: int | None = None
        self._size = 0
        self._is_listening = False
        self.last = b""

    def write(self, data: bytes) -> None:
        """Some bytes, perhaps the half of a line."""
        self.last = (self.last + data)[-LAST_WORDS_BYTES:]
        if not self._is_listening:
            port = listening_port(self.last)
            if port is not None:
                self._is_listening = True
                self._answers(port)
        with contextlib.suppress(OSError):
            for start in range(0, len(data), self._limit_bytes):
                self._put(data[start : start + self._limit_bytes])

    def _put(self, data: bytes) -> None:
        """Of no more bytes than one file may have."""
        file = self._opened()
        if self._size + len(data) > self._limit_bytes:
            os.replace(self._path, f"{self._path}.1")
            os.close(file)
            self._file = None
            file = self._opened()
        self._size += os.write(file, data)

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            self._size = os.fstat(self._file).st_size
        return self._file


def listening_port(text: bytes) -> int | None:
    """Of the first whole line that tells where a server answers."""
    start = text.find(LISTENING)
    line, end, _ = text[start:].partition(b"\n")
    number = line.rstrip().rpartition(b":")[2]
    if start < 0 or not end or not number.isdigit():
        return None
    return int(number) if 0 < int(number) <= MAX_PORT else None


def put(name: str, content: Mapping[str, Any]) -> None:
    """A file that is the old one or the new one, whole. A full disk keeps the old one."""
    with contextlib.suppress(OSError):
        with open(f".{name}", "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f".{name}", name)


def _start(spec: Mapping[str, Any]) -> tuple[int, int]:
    """(what it prints, its process). Raises OSError when the program cannot be run."""
    output, out = os.pipe()
    failed, fail = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(spec, out)
        except BaseException as error:
            os.write(fail, str(error).encode())
        os._exit(127)
    os.close(out)
    os.close(fail)
    said = os.read(failed, 4096)
    os.close(failed)
    if said:
        os.waitpid(pid, 0)
        raise OSError(said.decode(errors="replace"))
    os.set_blocking(output, False)
    return output, pid


def _become(spec: Mapping[str, Any], out: int) -> None:
    """The module, confined. Never returns."""
    os.setsid()
    parent = os.getppid()
    signal.set_wakeup_fd(-1)
    for number in (*PASSED_ON, signal.SIGUSR1, signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    for target in (1, 2):
        os.dup2(out, target)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(OOM_SCORE)
    if spec["cgroup"]:
        with open(f"{spec['cgroup']}/cgroup.procs", "w") as file:
            file.write("0")
    if spec["cpus"]:
        os.sched_setaffinity(0, spec["cpus"])
    _limit(resource.RLIMIT_CORE, 0)
    if spec["memory_bytes"]:  # a second net: what grows faster than it is weighed
        _limit(resource.RLIMIT_DATA, 2 * int(spec["memory_bytes"]) + 64 * 1024 * 1024)
    if spec["user"]:
        if spec["processes"]:  # likewise; it counts those of all modules, which have one user
            _limit(resource.RLIMIT_NPROC, int(spec["processes"]) + OTHERS)
        user, group = spec["user"]
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
    if os.getppid() != parent:
        os._exit(137)
    os.chdir(spec["cwd"])
    os.execve(spec["command"][0], spec["command"], spec["env"])


def _limit(kind: int, value: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # there is a lower one
        resource.setrlimit(kind, (value, value))


def _prctl(option: int, value: int) -> None:
    rest = [ctypes.c_ulong(each) for each in (value, 0, 0, 0)]
    if _libc.prctl(option, *rest) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} is refused")


def _quiet() -> None:
    """Nothing of the agent's is held: its pipes would never close."""
    null = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(null, target)
    os.close(null)


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
                yield from map(int, file.read().split())


def _descendants(pid: int) -> Iterator[int]:
    """It and all below it, however deep that is."""
    left = [pid]
    while left:
        yield (one := left.pop())
        left.extend(_children(one))


def _resident(pid: int) -> int:
    """Bytes; what is shared counts for each."""
    with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE_BYTES
    return 0


def _own(pid: int) -> int:
    """Bytes; what is shared counts by its share. Costs more to know."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


def _threads(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
