"""Columns and running engines for the tests of the comparison on one image."""

from contextlib import asynccontextmanager

from PIL import Image

from engines.errors import BackendUnavailableError
from engines.preparation.source import SourceImage
from tests.fakes import FakePool, fake_spec
from use_cases.comparison.columns import Column, ComparedLabel
from use_cases.comparison.one_image import open_contestants

SIGMOID, SOFTMAX = fake_spec("sig"), fake_spec("clip", score="softmax")


def column(model, score, labels, engine="onnx-fp32"):
    """Return a column of (label, own score, softmax, cosine), best first."""
    ranked = tuple(
        ComparedLabel(label, rank, 0.0, cosine, own if score == "sigmoid" else None, softmax)
        for rank, (label, own, softmax, cosine) in enumerate(labels, start=1)
    )
    best = ranked[0].sigmoid
    none = None if best is None else 1 - best
    return Column(model, engine, None, score, ranked, none, ("{label}",), (), (), False, {})


def picture(colour="red"):
    return SourceImage.of_image(Image.new("RGB", (8, 8), colour))


@asynccontextmanager
async def contestants(*broken, engines=("",), **specs):
    """Yield a contestant for each spec; the named ones cannot be loaded."""
    pool = FakePool(**(specs or {"sig": SIGMOID, "clip": SOFTMAX}))

    async def get(model, engine):
        if model in broken:
            raise BackendUnavailableError(f"{model} is not installed.")
        return await pool.get(model, engine)

    try:
        async with open_contestants(get, list(pool.specs), engines) as chosen:
            yield chosen
    finally:
        await pool.close()
