"""The inputs of research/registry.md, section 4, as names, texts and numbers."""

from __future__ import annotations

NAMES = (
    *("..", ".", "../..", "..%2f..", "%252e%252e%252f", "..\\..", ";/../", "#", "//x"),
    *("/etc/passwd", "file:///etc/passwd", "C:", "C:\\x", "C:/x", "a\0b", "a\x1bb", "a\nb"),
    *("a\r\nSet-Cookie: x=y", "x" * 4096, "x.", "x ", " ", "-rf", "$(id)", "`id`", "a;id"),
    "\uff0e\uff0e\uff0fetc",  # NFKC makes ../etc of it
    "\u2025/x",  # ..
    "a\u2215b",
    "a\u2044b",
    *("'; DROP TABLE runs; --", "{{7*7}}", "%s%n", "\u202eevil", "x:y:z", "x@y@z"),
    *("x:99999999999999999999", "1e308", "nan", "--index-url", "x:0", "\x7f"),
)
"""Of things and files, as a path, a query or a document has them."""

TEXTS = (
    *("", "../../outside/x", "/etc/passwd", "file:///etc/passwd", "C:\\x", "a\0b", "a\x1b[2J"),
    *("a\r\nb: c", "x" * 4096, "\uff0e\uff0e\uff0fetc", "a\u2044b", "\u202eevil"),
    *("$(touch outside/x)", "`id`", "x; id", "'; DROP TABLE runs; --", "{{7*7}}", "%s%n"),
    "--index-url=http://evil.example",
    "-r /etc/passwd",
    "git+ext::sh -c id",
    "http://169.254.169.254/latest",
    "http://[::1]:1/x",
    "http://0x7f.1/x",
    "http://2130706433/x",
    "gopher://127.0.0.1/x",
    "http://user:hunter2@127.0.0.1/x",
    *("dbfs:/x", "models:/x/1", "s3://x/y", "runs:/x/y", "mlflow-artifacts:/../../x"),
    "(a+)+$" + "a" * 40,
    "<script>alert(1)</script>",
)
"""Of values. Those that mean something are refused or kept as they are; none is carried out."""

NUMBERS = (
    *("1e308", "-1e308", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "-1", "0", "1e-320"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616"),
    *("9" * 400, "1.5", '"1e308"', '"nan"', "true", "null", "[]", "{}"),
)
"""As a JSON document has them, also as none may have them."""
