"""Every script of the differential test with its requests, by theme."""

from __future__ import annotations

from tests.conformance.azure.make import (
    JSON,
    data,
    get,
    multipart,
    send,
    swagger,
    text,
    value,
)
from tests.conformance.azure.model import Request, Script

FORM = ("Content-Type", "application/x-www-form-urlencoded")
PLAIN = ("Content-Type", "text/plain")
ALL_VERSIONS = ("2", "2.0", "3", "3.0", "3.1", "9")
LONG, LONGEST = "x" * 101, "y" * 100
FILES = multipart(
    ("picture", "a b.png", "image/png", b"\x89PNG\x00\xff"),
    ("note", None, None, "žluť".encode()),
    ("picture2", "empty.bin", None, b""),
)


def returns(*names: str) -> tuple[Request, ...]:
    """One POST per name."""
    return tuple(text(name) for name in names)


HTTP = (
    Script(
        "json_echo",
        (
            value({"a": [1, 2.5, None]}),
            text("no json at all", PLAIN),
            text("příliš žluťoučký 🐎", name="unicode"),
            text("", name="empty body"),
            send("no body", "POST"),
            data("bad utf-8", b"\xff\xfe{}"),
            data("truncated utf-8", b'{"a": "\xc5'),
            data("nul bytes", b"a\x00b"),
            text("a=1&b=2", FORM, name="form type"),
            text('{"data": 1}', FORM, name="curl -d"),
            data("multipart type", *FILES),
            text("x", ("Content-Type", "multipart/form-data"), name="multipart without boundary"),
            text("x=" + "1" * 600_000, FORM, name="large form"),
            text("x" * 300_000, name="large text"),
            text("[" * 100_000, name="deeply nested"),
            get(),
            get("a=1&b=[1,2]&c=a&d=null"),
            get("foo=bar1&foo=bar2&x=y&foo=3"),
            get("a=&b&=c&a%20b=c+d"),
            get("name=%C5%BElu%C5%A5&bad=%FF%FE"),
            get("n=NaN&i=Infinity&big=1e999&s=%22q%22"),
            get("a=1;b=2&c=%26%3D"),
            get("A=1&a=2"),
            get("deep=" + "[" * 3000, name="get deeply nested"),
            get("text=" + "1" * 4400, name="long target"),
            send("get with body", "GET", "/score?a=1", b"ignored"),
            send("head", "HEAD"),
            send("put", "PUT", "/score", b"x"),
            send("delete", "DELETE"),
            send("patch", "PATCH", "/score", b"x"),
            send("options", "OPTIONS"),
            send("trailing slash", "POST", "/score/", b"x"),
            send("unknown route", "GET", "/nope"),
            send("unknown route post", "POST", "/nope", b"x"),
            send("upper case", "POST", "/SCORE", b"x"),
            send("encoded", "POST", "/%73core", b"x"),
            send("root", "GET", "/"),
            send("root query", "GET", "/?a=1"),
            send("root head", "HEAD", "/"),
            send("root post", "POST", "/", b"x"),
            send("root options", "OPTIONS", "/"),
            send("swagger post", "POST", "/swagger.json", b"x"),
            send("swagger head", "HEAD", "/swagger.json"),
            send("swagger options", "OPTIONS", "/swagger.json"),
            *swagger(*ALL_VERSIONS, "", "3.10", "two", "%C5%BE"),
            get("version=2&version=3", path="/swagger.json"),
            get("Version=3", path="/swagger.json"),
        ),
    ),
    Script(
        "ids",
        (
            text("plain"),
            text("id", ("x-request-id", "my-id")),
            text("client", ("x-ms-client-request-id", "c-1")),
            text("legacy", ("x-ms-request-id", "l-1")),
            text(
                "all",
                ("x-request-id", "r"),
                ("x-ms-request-id", "l"),
                ("x-ms-client-request-id", "c"),
            ),
            text("100", ("x-request-id", LONGEST)),
            text("101", ("x-request-id", LONG)),
            text("101 traced", ("x-request-id", LONG), ("TraceId", "t"), ("x-ms-request-id", "l")),
            text("client 100", ("x-ms-client-request-id", LONGEST)),
            text("client 101", ("x-ms-client-request-id", LONG)),
            text("legacy 101", ("x-ms-request-id", LONG), ("x-request-id", "short")),
            text("empty id", ("x-request-id", "")),
            text("empty client", ("x-ms-client-request-id", "")),
            text("empty legacy", ("x-ms-request-id", ""), ("x-ms-client-request-id", "c")),
            text("trace", ("TraceId", "trace-1")),
            text("trace lower", ("traceid", "trace-2")),
            text("twice", ("x-request-id", "one"), ("x-request-id", "two")),
            text("latin", ("x-request-id", "caf\xe9")),
            get("", ("x-request-id", LONG), path="/"),
            get("", ("x-request-id", "root"), ("TraceId", "t"), path="/", name="root ids"),
            get("", ("x-ms-client-request-id", "s"), path="/swagger.json", name="swagger ids"),
            get("", ("x-request-id", LONG), path="/swagger.json", name="swagger 101"),
            get("", ("x-request-id", "nope"), ("TraceId", "t"), path="/nope", name="404 ids"),
            send("405 ids", "PUT", "/score", b"", ("x-request-id", "nope"), ("TraceId", "t")),
        ),
        file="json_echo",
    ),
    Script(
        "no_server_version",
        (text("x"), get(path="/"), get(path="/nope")),
        file="json_echo",
        environ=(("SERVER_VERSION_LOG_RESPONSE_ENABLED", "false"),),
    ),
    Script(
        "service_names",
        swagger("2", "3", "3.1"),
        file="json_echo",
        environ=(
            ("SERVICE_NAME", 'My "service"'.replace('"', "'")),
            ("SERVICE_VERSION", "7.2"),
            ("SERVICE_PATH_PREFIX", "/api/v1/"),
        ),
    ),
    Script(
        "two_workers", (text("x"), get("a=1")), file="json_echo", options=("--worker_count", "2")
    ),
)

ORIGIN_A, ORIGIN_B = ("Origin", "https://a.example"), ("Origin", "https://B.example")
PREFLIGHT = ("Access-Control-Request-Method", "POST")
WANTED = ("Access-Control-Request-Headers", "X-B, content-type,X-A")


def _cors(*more: Request) -> tuple[Request, ...]:
    return (
        text("no origin"),
        text("origin a", ORIGIN_A),
        text("origin b", ORIGIN_B),
        text("other", ("Origin", "https://other.example")),
        get("", ORIGIN_A, path="/", name="root"),
        get("", ORIGIN_A, path="/swagger.json", name="swagger"),
        get("version=9", ORIGIN_A, path="/swagger.json"),
        get("", ORIGIN_A, path="/nope", name="404"),
        send("405", "PUT", "/score", b"", ORIGIN_A),
        data("bad utf-8", b"\xff", ORIGIN_A),
        text("431", ORIGIN_A, ("x-request-id", LONG)),
        send("preflight", "OPTIONS", "/score", None, ORIGIN_A, PREFLIGHT, WANTED),
        send("preflight simple", "OPTIONS", "/score", None, ORIGIN_A, PREFLIGHT),
        send("preflight lower", "OPTIONS", "/score", None, ORIGIN_B, (PREFLIGHT[0], "get")),
        send("preflight put", "OPTIONS", "/score", None, ORIGIN_A, (PREFLIGHT[0], "PUT"), WANTED),
        send("preflight letter", "OPTIONS", "/score", None, ORIGIN_A, (PREFLIGHT[0], "E"), WANTED),
        send("preflight root", "OPTIONS", "/", None, ORIGIN_A, PREFLIGHT),
        send("options only", "OPTIONS", "/score"),
        text("private", ORIGIN_A, ("Access-Control-Request-Private-Network", "true")),
        *more,
    )


CORS = (
    Script("cors_any", _cors(), file="json_echo", environ=(("AML_CORS_ORIGINS", "*"),)),
    Script(
        "cors_list",
        _cors(),
        file="json_echo",
        options=("--access_control_allow_origins", "https://b.example , https://a.example"),
    ),
    Script(
        "cors_one", _cors(), file="json_echo", environ=(("AML_CORS_ORIGINS", "https://a.example"),)
    ),
    Script(
        "cors_pattern",
        _cors(text("evil", ("Origin", "https://evil.a.example"))),
        file="json_echo",
        environ=(("AML_CORS_ORIGINS", r"https://[ab]\.example,https://z.example"),),
    ),
    Script(
        "cors_by_script",
        (text("cors", ORIGIN_A), text("text", ORIGIN_A), text("500", ORIGIN_A)),
        file="aml_response",
        environ=(("AML_CORS_ORIGINS", "*"),),
    ),
)

MULTI = (("X-Multi", "one"), ("x-multi", "two"))
JSON_MODE = (
    Script("json_parse", (value({"data": [[1, 2], [3, 4]]}), text("{broken"), value({"other": 1}))),
    Script(
        "returns",
        (
            *returns("none", "true", "int", "bigint", "float", "small", "nan", "inf", "str"),
            *returns("json-str", "empty-str", "unicode", "surrogate", "list", "tuple", "dict"),
            *returns("int-keys", "tuple-keys", "set", "bytes", "array", "np-float64", "np-float32"),
            *returns("np-int", "np-list", "decimal", "generator", "circular", "object", "ellipsis"),
            *returns("empty-dict", "empty-list", "unknown name"),
        ),
    ),
    Script(
        "raises",
        returns("value", "key", "timeout", "recursion", "assert", "odd", "memory", "stop", "ok"),
    ),
    Script(
        "exits",
        returns("before", "exit", "after exit", "interrupt", "generator-exit", "after all"),
    ),
    Script(
        "times_out",
        returns("fast", "sleep", "busy", "swallow", "after"),
        environ=(("SCORING_TIMEOUT_MS", "300"),),
    ),
    Script(
        "headers_json",
        (
            value({}, ("x-token", "t"), *MULTI),
            text("x", ("X-CASE-1a-b", "v"), ("a_b", "dropped"), ("x-empty", "")),
            text("x", ("x-latin", "caf\xe9"), ("Cookie", "a=1"), ("Cookie", "b=2"), name="latin"),
            get("a=1", ("Authorization", "Bearer x")),
        ),
    ),
    Script("headers_order", (text("x", ("x-token", "t")), get("data=1"))),
    Script("extra_params", (text("x"), get("threshold=1"))),
    Script("keyword_only", (text("shout"),)),
    Script("counter", returns("a", "b", "c")),
    Script("names", returns("a")),
    Script("large", (text("x" * 2_000_000, name="2 MB"),)),
    Script("unicode_script", (text("žluťoučký"),)),
)

NUM = value({"num": 4})
OBJECT_MODE = (
    Script(
        "schema_int",
        (
            NUM,
            value({"num": "text"}),
            value({"num": 4.5}),
            value({"num": None}),
            value({}),
            value({"num": 1, "extra": 2}),
            value([1]),
            value("text"),
            value(None),
            text("", JSON, name="empty body"),
            send("no body", "POST", "/score", None, JSON),
            text("{broken", JSON),
            text('{"num": 4} x', JSON),
            text('{"num": 1, "num": 2}', JSON, name="repeated key"),
            text('{"num": NaN}', JSON),
            text('{"num": 1' + "0" * 5000 + "}", JSON, name="many digits"),
            text("[" * 100_000, JSON, name="deeply nested"),
            data("bad utf-8", b'{"num": "\xff"}', JSON),
            data("bom", b'\xef\xbb\xbf{"num": 4}', JSON),
            data("utf-16", '{"num": 4}'.encode("utf-16"), JSON),
            text('{"num": 4}', PLAIN, name="text type"),
            text('{"num": 4}', FORM, name="form type"),
            text('{"num": 4}', name="no type"),
            text('{"num": 4}', ("Content-Type", "application/json; charset=utf-8"), name="charset"),
            text('{"num": 4}', ("Content-Type", "APPLICATION/JSON"), name="upper type"),
            text('{"num": 4}', ("Content-Type", "application/vnd.x+json"), name="+json"),
            text('{"num": 4}', ("Content-Type", "text/json"), name="text json"),
            text('{"num": 4}', ("Content-Type", "application/jsonx"), name="json x"),
            text('{"num": 4}', ("Content-Type", ""), name="empty type"),
            get("num=5"),
            get("num=5&num=6"),
            get("num=x"),
            get(),
            send("options", "OPTIONS"),
            send("head", "HEAD", "/score?num=1"),
            *swagger(*ALL_VERSIONS),
        ),
    ),
    Script(
        "schema_standard",
        (
            value(
                {"name": "b", "weight": 2, "tags": [], "when": "2026-02-01", "flag": False},
                name="all",
            ),
            value(
                {"name": "b", "weight": 2, "tags": ["x"], "when": "never", "flag": 1}, name="bad"
            ),
            value({"name": "b"}),
            get("name=b&weight=1.5&tags=x&tags=y&when=2026-02-01&flag=true"),
            *swagger("2", "3", "3.1"),
        ),
    ),
    Script(
        "schema_nested",
        (
            value(
                {
                    "inputs": {
                        "input1": [{"name": "A", "age": 1}],
                        "input2": [[1, 2], [3, 4]],
                        "input3": [1],
                        "plain": "x",
                    }
                },
                name="all",
            ),
            value({"inputs": {"input1": []}}),
            *swagger("2", "3", "3.1"),
        ),
    ),
    Script(
        "schema_numpy",
        (
            value({"data": [[1, 2, 3]]}),
            value({"data": [[1, 2, 3], [4, 5, 6]]}),
            value({"data": [[1, 2]]}),
            value({"data": "text"}),
            value({"data": []}),
            text('{"data": [[NaN, 1, 2]]}', JSON),
            get("data=[[1,2,3]]"),
            *swagger("2", "3", "3.1"),
        ),
    ),
    Script(
        "schema_numpy_strict",
        (value({"data": [[1, 2, 3]]}), value({"data": [[1, 2]]}), value({"data": [[1.5, 2, 3]]})),
    ),
    Script(
        "schema_pandas",
        (
            value({"data": [{"state": "OR", "people": 4, "rate": 1}]}),
            value({"data": [{"state": "OR"}]}),
            value({"data": []}),
            value({"data": {"state": ["OR"], "people": [4], "rate": [0.1]}}, name="columns"),
            value({"data": [{"rate": 1, "people": 4, "state": "OR"}]}, name="reordered"),
            *swagger("2", "3", "3.1"),
        ),
    ),
    Script(
        "schema_pandas_split",
        (
            value(
                {"data": {"columns": ["when", "value"], "index": [0], "data": [["2026-01-01", 5]]}},
                name="split",
            ),
            value({"data": [1]}),
            *swagger("2", "3"),
        ),
    ),
    Script(
        "schema_defaults",
        (
            NUM,
            value({"num": 1, "method": "mean", "limit": 5}),
            value({"method": "mean"}),
            get("num=1&limit=null&method=x"),
            *swagger("2", "3"),
        ),
    ),
    Script("schema_no_convert", (value({"data": [1, 2]}), value({"data": "any"}))),
    Script("schema_mixed", (value({"data": [1, "x"]}), *swagger(*ALL_VERSIONS))),
    Script("output_only", (value({"data": 1}), text("x"), *swagger("2", "3"))),
    Script("headers_schema", (value({"num": 1}, *MULTI), get("num=1"))),
)

RAW_MODE = (
    Script(
        "raw_echo",
        (
            value(
                {"a": 1}, ("x-token", "t"), ("Cookie", "a=1; b=2"), ("Accept", "text/html;q=0.5")
            ),
            data("bytes", bytes(range(256))),
            text("a=1&b=2&a=3", FORM, name="form"),
            data("multipart", *FILES),
            text("", name="empty"),
            get("a=1&a=2&b=%C5%BE"),
            send("put", "PUT", "/score", b"x"),
            send("head", "HEAD", "/score?a=1"),
            send("options", "OPTIONS", "/score", None, ORIGIN_A, PREFLIGHT),
            send("options body", "OPTIONS", "/score", b"x"),
            text("x=" + "1" * 600_000, FORM, name="large form"),
            *swagger("2", "9"),
        ),
    ),
    Script("raw_headers", (value({}, *MULTI), text("x", ("a_b", "dropped"), ("x-empty", "")))),
    Script(
        "raw_files",
        (
            data("files", *FILES),
            text("x", PLAIN),
            data("cut off", FILES[0][:120], FILES[1]),
            text("a=%C5%BE", FORM),
        ),
    ),
    Script(
        "raw_json",
        (
            value({"a": 1}),
            text("{broken", JSON),
            text('{"a": 1}', PLAIN),
            text("", JSON, name="empty"),
            data("bad utf-8", b'"\xff"', JSON),
            send("uncaught", "POST", "/score?let=go", b"{broken", JSON),
            send("uncaught type", "POST", "/score?let=go", b"{}", PLAIN),
        ),
    ),
    Script("raw_other_path", (text("x"), get())),
    Script("raw_star_import", (text("abc"), get("a=1"), send("options", "OPTIONS"))),
    Script(
        "raw_methods",
        (text("x"), get(), send("options", "OPTIONS"), send("head", "HEAD"), send("put", "PUT")),
    ),
    Script(
        "aml_response",
        (
            *returns("text", "bytes", "none", "none-status", "json", "json-nan", "json-type"),
            *returns(
                "json-bad", "400", "404", "418", "500", "503", "failed", "failed-header", "204"
            ),
            *returns("304", "exec-ms", "type-lower", "type-charset", "cookies", "location"),
            *returns("connection", "length", "newline", "unicode", "list", "status-text"),
            *returns(
                "status-bad", "generator", "generator-bytes", "generator-empty", "dict", "int"
            ),
            *returns("in-list", "cors", "headers-int", "empty"),
            text("ids", ("x-request-id", "r"), ("x-ms-client-request-id", "c"), ("TraceId", "t")),
            text("ids", name="ids not given"),
        ),
    ),
    Script("stream_breaks", returns("later", "at once", "whole")),
    Script("set_attributes", returns("plain", "data", "json")),
)

SURROUNDINGS = (
    Script("driver", (text("x"), *swagger("2"))),
    Script("driver_no_run", (text("x"),)),
    Script("own_swagger", (text("x"), *swagger(*ALL_VERSIONS))),
    Script("own_swagger2", swagger(*ALL_VERSIONS)),
    Script("prints", (text("hello"), text("again"))),
    Script("stdin", (text("1 2"),)),
    Script("model_dir", (text("x"),), options=("--model_dir", "model")),
    Script(
        "model_dir_environ",
        (text("x"),),
        file="model_dir/score",
        environ=(("AZUREML_MODEL_DIR", "model"),),
    ),
    Script("no_model_dir", (text("x"),)),
    Script("sibling", (text("21"), text("x"))),
    Script("source_dir", (text("x"),), environ=(("AZUREML_SOURCE_DIRECTORY", "src"),)),
    Script("our_names", (text("x"),)),
    Script("our_names_missing", (text("x"),)),
    Script("same_name", (text("x"),)),
    Script("config_file", (text("x"), text("sleep"), *swagger("2"))),
    Script(
        "config_option",
        (text("x"), *swagger("3")),
        file="json_echo",
        options=("--config_file", "config_file/config.json"),
    ),
    Script(
        "config_environ",
        (text("x"), *swagger("2")),
        file="config_file/score",
        environ=(("SERVICE_NAME", "from environment"),),
    ),
    Script("foreign_config", (text("x"),)),
    Script("logging_file", (text("x"),)),
    Script("coroutine", (text("x"),)),
    Script("callable_object", (text("x", ("x-token", "t")),)),
    Script("partial", (text("14"),)),
    Script("wrapped", (text("x"),)),
    Script("threads", (text("x"),)),
    Script("processes", (text("x"),)),
    Script("alarm_of_mine", (text("x"),)),
    Script("warns", (text("x"),)),
    Script("argv", (text("x"),)),
)

FAILURES = (
    *(
        Script(f"fail_{name}", fails=True)
        for name in (
            *("init", "init_exit", "import", "syntax", "no_run", "no_init", "var_args"),
            *("var_keywords", "positional_only", "no_parameter", "only_headers", "both_decorators"),
            *("bad_swagger", "bad_config"),
        )
    ),
    Script("fail_no_file", file="not_there", fails=True),
    Script(
        "fail_timeout",
        file="json_echo",
        environ=(("SCORING_TIMEOUT_MS", "soon"),),
        fails=True,
    ),
    Script("hidden_scoring", (text("x"),)),
)

SCRIPTS = (*HTTP, *CORS, *JSON_MODE, *OBJECT_MODE, *RAW_MODE, *SURROUNDINGS, *FAILURES)
