"""What the pull adds to edge/errors.py."""

from edge.errors import PullError


class CancelledError(PullError):
    """Whoever asked for the image wants it no more. Not a failure."""
