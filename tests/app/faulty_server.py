"""A real server around an engine that misbehaves on request: run as a script, like app.py.

A magenta image fails. A text's words decide: "raise" fails, "hang" never answers, "die" ends the
engine's thread, "slow" takes one and a half seconds. Everything else is embedded as its colours; so are
images.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import numpy as np

from app.main import main
from engines import loading
from engines.base import Tokens
from tests.fakes import COLOURS, FakeEngine, FakePreprocessor, fake_spec

WORDS = (*COLOURS, "other", "raise", "hang", "die", "slow")


class Preprocessor(FakePreprocessor):
    def prepare_text(self, text):
        words = text.split()
        ids = tuple(WORDS.index(word) if word in WORDS else 3 for word in words)
        return Tokens(ids[: self.spec.context_length], truncated=len(words) > self.spec.context_length)


class FaultyEngine(FakeEngine):
    def embed_pixels(self, pixels):
        if any(np.allclose(image, (1, 0, 1)) for image in pixels):
            raise RuntimeError("kernel broke")
        return super().embed_pixels(pixels)

    def embed_tokens(self, tokens):
        asked = {WORDS[token] for text in tokens for token in text.ids}
        if "raise" in asked:
            raise RuntimeError("kernel broke")
        if "hang" in asked:
            time.sleep(1000)
        if "die" in asked:
            raise SystemExit
        if "slow" in asked:
            time.sleep(1.5)
        colours = [Tokens(tuple(min(token, 3) for token in text.ids), text.truncated) for text in tokens]
        return super().embed_tokens(colours)


loading.resolve_model = lambda name, options: fake_spec(name)
loading.load_engine = lambda spec, engine, options: FaultyEngine(spec)
loading.Preprocessor = Preprocessor
loading.engine_identity = lambda spec, engine: f"{spec.name}/{engine}"

if __name__ == "__main__":
    raise SystemExit(main(["--models", "colours", "--engine", "onnx-fp32", *sys.argv[1:]]))
