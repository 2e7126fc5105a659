"""Trains the small convolutional network that the FPGA's tests use, and writes its weights.

    pip install torch scikit-learn
    python examples/fpga/train_digits_cnn.py benchmarks/fpga/digits_cnn.npz

1 x 8 x 8 -> 16 filters of 3 x 3 -> 2 x 2 maxima -> 32 filters of 3 x 3 -> 10. Weights are stored as
float16. Only this script needs PyTorch.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

ROWS = 1437
"""The rest is never trained on."""


def main(path: str) -> None:
    """Train for 60 epochs, say how good it is, and write `path`."""
    torch.manual_seed(0)
    found = load_digits()
    pictures = torch.tensor(found.data / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    digits = torch.tensor(found.target)
    first, second, last = (
        nn.Conv2d(1, 16, 3, padding=1),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.Linear(512, 10),
    )
    net = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.Flatten(), last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    for _ in range(60):
        for rows in torch.randperm(ROWS).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(pictures[rows]), digits[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        right = (net(pictures[ROWS:]).argmax(1) == digits[ROWS:]).float().mean()
    print(f"accuracy on {len(digits) - ROWS} pictures that training never saw: {right:.4f}")
    layers = {"1": first, "2": second, "3": last}
    parts = {f"w{name}": layer.weight for name, layer in layers.items()}
    parts |= {f"b{name}": layer.bias for name, layer in layers.items()}
    np.savez_compressed(
        path, **{k: v.detach().numpy().astype(np.float16) for k, v in parts.items()}
    )


if __name__ == "__main__":
    main(sys.argv[1])
