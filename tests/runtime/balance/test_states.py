"""What HAProxy says of itself; what it might say in another version."""

from __future__ import annotations

import pytest

from runtime.balance import states
from runtime.balance.errors import RuntimeApiError

COLUMNS = (
    "pxname,svname,qcur,scur,slim,stot,econ,eresp,wretr,wredis,status,tracked,check_status,"
    "hrsp_2xx,hrsp_4xx,hrsp_5xx,req_tot,last_chk,qtime,rtime,addr,uweight,intercepted"
)
ROWS = {
    "port": "a,FRONTEND,,3,2000,9,,,,,OPEN,,,6,2,1,9,,,,,,2",
    "up": "a.0,s1,1,2,8,7,1,2,3,4,UP 1/2,,L7OK,6,0,1,,Layer7 check passed,0,1,127.0.0.1:81,100,",
    "v6": "a.0,s2,0,0,,0,0,0,0,0,DRAIN,,L7OK,0,0,0,,,0,0,[::1]:82,1,",
    "off": "a.0,s3,0,0,,0,0,0,0,0,MAINT,,,0,0,0,,,0,0,127.0.0.1:1,1,",
    "down": "a.0,s4,0,0,,0,0,0,0,0,DOWN,,L4CON,0,0,0,,,0,0,127.0.0.1:84,1,",
    "again": "a.0,again,0,0,,0,0,0,0,0,no check,,,0,0,0,,,0,0,unix,1,",
    "lane": "a.0,BACKEND,5,2,200,7,1,2,3,4,UP,,,6,0,1,,,3,11,,100,0",
    "live": "a.0.live,s1,0,0,,0,0,0,0,0,UP,a.0/s1,,0,0,0,,,0,0,127.0.0.1:1,1,",
}
TEXT = "\n".join([f"# {COLUMNS},", *(f"{row}," for row in ROWS.values()), "", ""])


def test_statistics_are_records() -> None:
    found = states.stats(TEXT)
    assert [(s.name, s.admin, s.is_up) for s in found.servers] == [
        ("s1", "ready", True),
        ("s2", "drain", True),
        ("s3", "maintenance", False),
        ("s4", "ready", False),
    ]
    first, second, *_ = found.servers
    assert (first.address, first.port, first.weight, first.max_requests) == (
        "127.0.0.1",
        81,
        100,
        8,
    )
    assert (first.in_flight, first.queued, first.requests, first.answers_5xx) == (2, 1, 7, 1)
    assert first.check == "L7OK Layer7 check passed"
    assert (second.address, second.port) == ("::1", 82)
    (lane,) = found.queues
    assert (lane.waiting, lane.in_flight, lane.mean_answer_ms) == (5, 2, 11)
    (port,) = found.ports
    assert (port.name, port.connections, port.requests, port.refused) == ("a", 3, 9, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Permission denied\n",
        "# \na,b\n",
        "# pxname,svname\na,FRONTEND\n",
        TEXT.replace("scur", "other"),
        TEXT.replace("127.0.0.1:81", "nowhere"),
        TEXT.replace(",2,8,7,", ",two,8,7,"),
        TEXT.replace("a.0,s1,1,2,8", "a.0,s1,1\na.0,s1,1,2,8"),
    ],
)
def test_what_is_no_statistics_is_refused(text: str) -> None:
    with pytest.raises(RuntimeApiError):
        states.stats(text)


def test_info_is_a_record() -> None:
    lines = ["Name: HAProxy", "Version: 2.6.12", "Pid: 7", "Uptime_sec: 5", "CurrConns: 2"]
    found = states.info("\n".join([*lines, "Stopping: 1"]))
    assert found == states.Info("2.6.12", 7, 5, 2, is_stopping=True)
    for text in ("", "\n".join(lines), "\n".join([*lines, "Stopping: 1", "Pid: x"])):
        with pytest.raises(RuntimeApiError, match="info"):
            states.info(text)


def test_a_map_is_its_entries() -> None:
    assert states.map_entries("0x55 0:9 1\n0x56 10 2\n\n") == (("0:9", "1"), ("10", "2"))
    with pytest.raises(RuntimeApiError):
        states.map_entries("0x55 0:9\n")
