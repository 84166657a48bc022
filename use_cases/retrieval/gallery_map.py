"""A map of a gallery: its images in the plane, so that what a model finds alike lies close together."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from engines.base import Embeddings
from use_cases.retrieval.image_table import ImageTable, TableState

MAX_POINTS = 5_000  # that a browser can draw, and a reader take in


@dataclass(frozen=True, slots=True)
class GalleryMap:
    """Images in the plane."""

    ids: list[str]
    captions: list[str]
    coordinates: NDArray[np.float32]  # [n, 2]
    explained: float  # share of the embeddings' variance that the plane keeps, 0 to 1
    total: int  # images in the gallery, of which these are a sample if they are fewer


class GalleryMaps:
    """Keeps the map of each table until somebody changes the table; for any thread."""

    def __init__(self) -> None:
        self._maps: WeakKeyDictionary[ImageTable, tuple[TableState, GalleryMap]] = WeakKeyDictionary()
        self._drawing = threading.Lock()

    def of(self, table: ImageTable) -> GalleryMap:
        """Return a table's map; it is drawn when it is first asked for.

        Raises:
            UnknownIndexError: when somebody removed the table.
            IndexStorageError: when it cannot be read.
        """
        with self._drawing:
            state = table.state  # read first: a change in between is seen the next time
            known = self._maps.get(table)
            if known is None or known[0] != state:
                known = state, draw_map(table)
                self._maps[table] = known
            return known[1]


def draw_map(table: ImageTable, most: int = MAX_POINTS) -> GalleryMap:
    """Project a table's embeddings onto their first two principal components.

    Args:
        table: the images as one model sees them.
        most: images to draw; of more, a random sample that is the same each time.

    Raises:
        IndexStorageError: when the table cannot be read.
    """
    total = len(table)
    chosen = np.ones(total, bool)
    if total > most:
        chosen[:] = False
        chosen[np.random.default_rng(0).choice(total, most, replace=False)] = True
    ids: list[str] = []
    captions: list[str] = []
    rows: list[Embeddings] = []
    start = 0
    for records, embeddings in table.scan():
        places = np.flatnonzero(chosen[start : start + len(records)])
        ids += [records[place].id for place in places]
        captions += [records[place].caption for place in places]
        rows.append(embeddings[places])
        start += len(records)
    coordinates, explained = principal_plane(
        np.concatenate(rows) if rows else np.zeros((0, table.dim), np.float32)
    )
    return GalleryMap(ids, captions, coordinates, explained, total)


def principal_plane(embeddings: Embeddings) -> tuple[NDArray[np.float32], float]:
    """Return the coordinates in the plane of the largest variance, and its share of the whole variance.

    Each axis points to where its largest component is positive, so that equal embeddings give equal maps.

    Args:
        embeddings: [n, dim].

    Returns:
        The coordinates, [n, 2], and the share, 0 where all embeddings are the same.
    """
    if len(embeddings) == 0:
        return np.zeros((0, 2), np.float32), 0.0
    centred = embeddings - embeddings.mean(axis=0, dtype=np.float64)
    # By the covariance, since a singular value decomposition of 5,000 rows takes ten times as long.
    variances, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    axes = axes[:, :-3:-1]  # [dim, 2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(2)])
    whole = float(variances.sum())
    explained = float(variances[-2:].sum()) / whole if whole > 0 else 0.0
    return (centred @ axes).astype(np.float32), explained
