"""The images and texts of a request: parsed, fetched if that is allowed, and read off the event loop."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pybase64

from app.api.errors import ApiError
from app.api.schemas import ImageItem, ImageLike, ImageUrlItem, Item, TextItem, TypedTextItem
from app.remote.fetch import ByteBudget, fetch_image
from engines.errors import EngineError, InvalidInputError
from engines.preparation.images import MAX_IMAGE_BYTES
from engines.preparation.source import SourceImage
from engines.tracing import span
from engines.worker.cache import EmbeddingCache
from use_cases.embedding import check_text
from use_cases.images import PixelBudget, read_image

_FETCH_TIMEOUT_S = 20.0
_DATA, _BASE64 = "data:", ";base64,"


class _Budget(NamedTuple):
    """What the images of one request may take together."""

    pixels: PixelBudget
    fetched: ByteBudget


@dataclass(frozen=True, slots=True)
class ItemReader:
    """Turns what a request calls an image or a text into one."""

    max_images: int
    max_texts: int
    allow_urls: bool
    max_fetched_bytes: int  # from all URLs of a request
    min_side: int  # of decoded images: see `decode_image`
    cache: EmbeddingCache  # knows which files were decoded before

    async def read_all(self, items: Sequence[Item], param: str) -> list[str | SourceImage]:
        """Return texts and images, in order.

        Raises:
            ApiError: 413 when there are too many, 422 naming the first that cannot be used.
        """
        texts = sum(isinstance(item, TextItem | TypedTextItem) or is_text(item) for item in items)
        self.check_count("images", len(items) - texts, self.max_images, param)
        self.check_count("texts", texts, self.max_texts, param)
        budget = self._budget()
        results: list[str | SourceImage | BaseException] = await asyncio.gather(
            *(self._read(item, budget) for item in items), return_exceptions=True
        )
        _refuse_unusable(results, param)
        return [result for result in results if not isinstance(result, BaseException)]

    async def read_images(self, images: Sequence[ImageLike], param: str) -> list[SourceImage | EngineError]:
        """Return images, or the error of each that cannot be used, in order.

        Raises:
            ApiError: 413 when there are too many.
        """
        self.check_count("images", len(images), self.max_images, param)
        budget = self._budget()
        results = await asyncio.gather(
            *(self._read_image(image, budget) for image in images), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, EngineError):
                raise result
        return results  # type: ignore[return-value]  # what else it could hold was raised

    async def read_usable(self, images: Sequence[ImageLike], param: str) -> list[SourceImage]:
        """Return images, in order.

        Raises:
            ApiError: 413 when there are too many, 422 naming the first that cannot be used.
        """
        results = await self.read_images(images, param)
        _refuse_unusable(results, param)
        return [result for result in results if not isinstance(result, EngineError)]

    def check_texts(self, texts: Sequence[str], param: str) -> list[str]:
        """Return texts.

        Raises:
            ApiError: 413 when there are too many, 422 naming the first that cannot be used.
        """
        self.check_count("texts", len(texts), self.max_texts, param)
        _refuse_unusable([_problem(text) for text in texts], param)
        return list(texts)

    def check_count(self, kind: str, count: int, most: int, param: str) -> None:
        """Refuse too many items.

        Raises:
            ApiError: 413.
        """
        if count > most:
            message = f"There are {count:,} {kind}; at most {most:,} are accepted in one request."
            raise ApiError(413, message, code="too_many_items", param=param)

    def _budget(self) -> _Budget:
        return _Budget(PixelBudget(), ByteBudget(self.max_fetched_bytes))

    async def _read(self, item: Item, budget: _Budget) -> str | SourceImage:
        if isinstance(item, TextItem | TypedTextItem):
            return check_text(item.text)
        if isinstance(item, str) and is_text(item):
            return check_text(item)
        return await self._read_image(item, budget)

    async def _read_image(self, image: ImageLike, budget: _Budget) -> SourceImage:
        if isinstance(image, ImageItem):
            source = image.image
        elif isinstance(image, ImageUrlItem):
            source = image.image_url if isinstance(image.image_url, str) else image.image_url.url
        else:
            source = image
        if isinstance(source, str):
            if source[:8].lower().startswith(("http://", "https://")):
                source = await self._fetch(source, budget.fetched)
            else:
                return await read_image(
                    partial(_from_base64, source), self.min_side, self.cache, budget.pixels
                )
        return await read_image(source, self.min_side, self.cache, budget.pixels)

    async def _fetch(self, url: str, budget: ByteBudget) -> bytes:
        if not self.allow_urls:
            raise InvalidInputError("URLs are not fetched here; send the image itself, as a data URI.")
        with span("receive"):
            return await fetch_image(
                url, max_bytes=MAX_IMAGE_BYTES, budget=budget, timeout_s=_FETCH_TIMEOUT_S
            )


def is_text(item: object) -> bool:
    """Tell whether an item of a mixed list is a text: a string that is no data URI of an image."""
    return isinstance(item, str) and not item[:11].lower().startswith("data:image/")


def _from_base64(text: str) -> bytes:
    if text[: len(_DATA)].lower() == _DATA:
        _, separator, text = text.partition(_BASE64)
        if not separator:
            raise InvalidInputError("The data URI must hold base64: data:image/...;base64,...")
    with span("receive"):
        try:
            return pybase64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass  # it may be in lines, as the command base64 writes it
        try:
            return pybase64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInputError(
                "The image is neither a data URI nor base64, or it was cut off."
            ) from None


def _problem(text: str) -> InvalidInputError | None:
    try:
        check_text(text)
    except InvalidInputError as error:
        return error
    return None


def _refuse_unusable(results: Sequence[object], param: str) -> None:
    for index, result in enumerate(results):
        if isinstance(result, EngineError):
            name = f"{param}[{index}]"
            raise ApiError(422, f"{name}: {result}", code=result.code, param=name) from result
        if isinstance(result, BaseException):
            raise result
