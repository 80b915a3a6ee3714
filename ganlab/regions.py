"""Regions of a map of tiles: where one label ends and another begins, and where there is room for a name. Numpy alone.

Places are in tiles: tile (row, column) covers x from column to column + 1 and y from row to row + 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Region(NamedTuple):
    """Tiles of one label that hang together by their sides: how many, and one that lies deepest within."""

    label: int
    size: int
    row: int
    column: int


def borders(labels: np.ndarray) -> np.ndarray:
    """The sides between neighbouring tiles of different labels (H, W): float64 (B, 4), from x, y to x, y."""
    row, column = np.nonzero(labels[:, :-1] != labels[:, 1:])
    upright = np.stack([column + 1, row, column + 1, row + 1], 1)
    row, column = np.nonzero(labels[:-1] != labels[1:])
    lying = np.stack([column, row + 1, column + 1, row + 1], 1)
    return np.concatenate([upright, lying]).astype(np.float64)


def regions(labels: np.ndarray) -> list[Region]:
    """All regions of a map (H, W), the largest first, equally large ones in reading order."""
    marks = _marked(labels)
    depth = _depth(marks)
    found = []
    for mark in range(marks.max() + 1):
        rows, columns = np.nonzero(marks == mark)
        deepest = depth[rows, columns].argmax()
        row, column = int(rows[deepest]), int(columns[deepest])
        found.append(Region(int(labels[row, column]), len(rows), row, column))
    return sorted(found, key=lambda region: -region.size)


def _marked(labels: np.ndarray) -> np.ndarray:
    """The number of each tile's region, int64 (H, W), from 0 in reading order."""
    marks = np.full(labels.shape, -1)
    height, width = labels.shape
    num = 0
    for start in np.ndindex(height, width):
        if marks[start] >= 0:
            continue
        marks[start] = num
        todo = [start]
        while todo:
            row, column = todo.pop()
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= r < height and 0 <= c < width
                if inside and marks[r, c] < 0 and labels[r, c] == labels[start]:
                    marks[r, c] = num
                    todo.append((r, c))
        num += 1
    return marks


def _depth(marks: np.ndarray) -> np.ndarray:
    """How many steps, diagonal ones too, lead from each tile to one of another region or beyond the map: (H, W)."""
    depth = np.zeros(marks.shape, np.int64)
    same = np.ones(marks.shape, bool)
    for reach in range(1, max(marks.shape) + 1):
        padded = np.pad(marks, reach, constant_values=-1)
        height, width = marks.shape
        for dy in range(2 * reach + 1):
            for dx in range(2 * reach + 1):
                if max(abs(dy - reach), abs(dx - reach)) == reach:
                    same &= padded[dy : dy + height, dx : dx + width] == marks
        if not same.any():
            break
        depth += same
    return depth
