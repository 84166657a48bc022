"""What a retrieval record keeps of each query, so that others can compute metrics and intervals from it.

As `use_cases.labelled.items` packs arrays. Images are in the dataset's order, as in the record's `image_ids`;
texts are image after image.

- `num_captions`, once a record: `numbers` [n_images], how many captions each image has.
- `items` of a row: `text_to_image` [n_texts], for each text the rank of its image among all images, from 1;
  `image_to_text` [n_images], for each image the rank of the best of its texts among those of all others.
  Empty where a dataset has more than `MAX_VALUES` queries.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from use_cases.labelled.items import MAX_VALUES, pack, smallest, unpack
from use_cases.ranking import Ranks
from use_cases.retrieval.metrics import Owners


def pack_owners(owners: Owners, num_images: int) -> str:
    """Return how many captions each image has.

    Args:
        owners: [n_texts], which image each text describes, ascending.
        num_images: that there are.
    """
    return pack(numbers=smallest(np.bincount(owners, minlength=num_images)))


def unpack_owners(num_captions: str) -> Owners:
    """Return what `pack_owners` packed: [n_texts]."""
    numbers = unpack(num_captions)["numbers"].astype(np.int64)
    return np.repeat(np.arange(len(numbers)), numbers)


def pack_ranks(ranks: Mapping[str, Ranks]) -> str:
    """Return a row's items.

    Args:
        ranks: by direction.
    """
    if sum(each.size for each in ranks.values()) > MAX_VALUES:
        return ""
    return pack(**{direction: smallest(each) for direction, each in ranks.items()})


def unpack_ranks(items: str) -> dict[str, Ranks]:
    """Return what `pack_ranks` packed, by direction."""
    return {direction: each.astype(np.int64) for direction, each in unpack(items).items()}
