"""JSON to arrays and back: strict, fast, and bounded under hostile input."""
