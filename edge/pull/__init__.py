"""Images from the workspace's registry, resumed over any link and any restart.

puller = RegistryPuller(stock, "https://hub.example:5000", token=token, trusted=[key])
image = puller.pull("digits:3", digest, keep=pinned, on_progress=print, is_cancelled=is_set)

puller.py       what is fetched, in which order, and when not
referrers.py    the manifest, and what speaks for it
signatures.py   signatures, checked by a process that ends
downloads.py    one blob over the link: resumed, paced, left when it drips
parts.py        one blob on the disk: a file that grows over cuts, restarts and power cuts
rate.py         how fast at most
"""

from edge.pull.errors import CancelledError

__all__ = ["CancelledError"]
