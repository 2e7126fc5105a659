"""The part ``images``: how fast images are made, how large they are, and how they travel."""
