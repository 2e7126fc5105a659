"""Load tests and their one report, benchmarks/RESULTS.md."""
