"""What answers: engines, the score.py contract, batching, HTTP, workers and metrics."""
