"""Where things lie in an image; the only place that says so. Paths have no leading slash.

opt/inferry/
  packages/   the Python packages: wheels, unpacked
  bin/        their scripts
  server/     the scoring server: the package ``scoring``
  bundle/     bundle.json, code/, models/<name>/<version>/ (design.md, section 4)
"""

from __future__ import annotations

ROOT = "opt/inferry"
PACKAGES_ROOT = f"{ROOT}/packages"
SCRIPTS_ROOT = f"{ROOT}/bin"
SERVER_ROOT = f"{ROOT}/server"
BUNDLE_ROOT = f"{ROOT}/bundle"
PORT = 5001
USER = "10001:10001"
"""Not root, and of no account that a base image has."""
