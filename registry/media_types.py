"""The media types of what the store holds, and how a digest is written."""

import re

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
BUNDLE = "application/vnd.inferry.bundle.v1"
"""artifactType of an image that holds a bundle only."""
MODEL = "application/vnd.inferry.model.v1"
"""artifactType of a model's manifest."""
MODEL_FILE = "application/vnd.inferry.model.file.v1"

FIND_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""A digest within a text."""
