"""A client of other OCI registries: pull, push, tags, referrers.

    from registry.remote import parse_image_reference
    from registry.remote.options import RemoteOptions
    from registry.remote.pulling import pull_image
    from registry.remote.pushing import push_image
    from registry.remote.referrers import list_referrers

These four load the HTTP client; this package alone does not.
"""

from registry.remote.reference import ImageReference, is_digest, parse_image_reference

__all__ = ["ImageReference", "is_digest", "parse_image_reference"]
