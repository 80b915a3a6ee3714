"""Regions of a map of tiles, against maps that one can count by eye."""

from __future__ import annotations

import numpy as np

from ganlab.regions import Region, borders, regions


def test_borders_lie_between_different_tiles():
    labels = np.array([[0, 0, 1], [0, 2, 1]])
    found = {tuple(map(int, side)) for side in borders(labels)}
    assert found == {(2, 0, 2, 1), (1, 1, 1, 2), (2, 1, 2, 2), (1, 1, 2, 1)}
    assert borders(np.zeros((3, 3), int)).shape == (0, 4)


def test_regions_hang_together_by_their_sides():
    """Corners that touch do not join; equal labels apart are two regions."""
    labels = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    assert [(region.label, region.size) for region in regions(labels)] == [(0, 4), (0, 2), (1, 2), (1, 1)]


def test_a_name_stands_where_a_region_is_widest():
    labels = np.zeros((7, 9), int)
    labels[:, 0] = 1  # a strip along the side
    labels[3:, 4] = 1  # a wall that leaves 3 columns on the left and 4 on the right
    (largest, *_) = regions(labels)
    assert largest.label == 0 and largest.size == 7 * 8 - 4
    expected = max(
        (min(_distance(labels, row, column)), -row, -column)
        for row in range(7)
        for column in range(9)
        if labels[row, column] == 0
    )
    assert min(_distance(labels, largest.row, largest.column)) == expected[0] > 1


def _distance(labels: np.ndarray, row: int, column: int) -> list[int]:
    """Steps, diagonal ones too, to each tile of another label, and to each beyond the map."""
    height, width = labels.shape
    return [
        max(abs(r - row), abs(c - column))
        for r in range(-1, height + 1)
        for c in range(-1, width + 1)
        if not (0 <= r < height and 0 <= c < width) or labels[r, c] != labels[row, column]
    ]


def test_one_region_alone():
    assert regions(np.full((5, 5), 3)) == [Region(3, 25, 2, 2)]
