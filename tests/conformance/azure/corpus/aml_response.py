import json
from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

ANSWERS = {
    "text": lambda: AMLResponse("text", 200),
    "bytes": lambda: AMLResponse(b"\x89PNG\x00\xff", 200, {"Content-Type": "image/png", "X-A": "1,2"}),
    "none": lambda: AMLResponse(None, 200),
    "none-status": lambda: AMLResponse(None, 202, {"X-B": "b"}),
    "json": lambda: AMLResponse({"a": [1, None]}, 200, {}, True),
    "json-nan": lambda: AMLResponse(float("nan"), 200, json_str=True),
    "json-type": lambda: AMLResponse({"a": 1}, 200, {"Content-Type": "application/problem+json"}, json_str=True),
    "json-bad": lambda: AMLResponse({1, 2}, 200, json_str=True),
    "400": lambda: AMLResponse("bad", 400),
    "404": lambda: AMLResponse({"message": "no"}, 404, json_str=True),
    "418": lambda: AMLResponse("teapot", 418),
    "500": lambda: AMLResponse("broken", 500),
    "503": lambda: AMLResponse("busy", 503, {"Retry-After": "7"}, run_function_failed=False),
    "failed": lambda: AMLResponse("failed", 200, run_function_failed=True),
    "failed-header": lambda: AMLResponse("failed", 200, {"x-ms-run-function-failed": "True"}),
    "204": lambda: AMLResponse("", 204),
    "304": lambda: AMLResponse("", 304),
    "ids": lambda: AMLResponse("mine", 200, {"x-request-id": "evil", "x-ms-request-id": "evil", "TraceId": "evil",
                                             "x-ms-client-request-id": "evil", "x-ms-server-version": "evil"}),
    "exec-ms": lambda: AMLResponse("mine", 200, {"x-ms-run-fn-exec-ms": "mine"}),
    "type-lower": lambda: AMLResponse("a,b", 200, {"content-type": "text/csv"}),
    "type-charset": lambda: AMLResponse("a,b", 200, {"Content-Type": "text/csv; charset=latin-1"}),
    "cookies": lambda: AMLResponse("c", 200, {"Set-Cookie": "a=1; Path=/,b=2"}),
    "location": lambda: AMLResponse("", 302, {"Location": "/elsewhere"}),
    "connection": lambda: AMLResponse("x", 200, {"Connection": "keep-alive", "X-C": "c"}),
    "length": lambda: AMLResponse("four", 200, {"X-Spaces": "  a  ,  b "}),
    "newline": lambda: AMLResponse("x", 200, {"X-N": "a\r\nX-Evil: 1"}),
    "unicode": lambda: AMLResponse("žluť 🐎", 200),
    "list": lambda: AMLResponse(["a", "b"], 200),
    "status-text": lambda: AMLResponse("x", "207 Multi"),
    "status-bad": lambda: AMLResponse("x", None),
    "generator": lambda: AMLResponse((c for c in ["one ", "two ", "three"]), 200, {"Content-Type": "text/plain"}),
    "generator-bytes": lambda: AMLResponse(iter([b"1", b"", b"2" * 100000]), 200),
    "generator-empty": lambda: AMLResponse(iter([]), 200),
    "dict": lambda: AMLResponse({"a": 1}, 200),
    "int": lambda: AMLResponse(5, 200),
    "in-list": lambda: [AMLResponse("x", 200)],
    "cors": lambda: AMLResponse("x", 200, {"Access-Control-Allow-Origin": "https://mine.example"}),
    "headers-int": lambda: AMLResponse("x", 200, {"X-Int": 5}),
    "empty": lambda: AMLResponse("", 200),
}

def run(data):
    return ANSWERS[data]()
