"""A labelled dataset that the fake engine knows: pictures of one colour, and their colours' names."""

from pathlib import Path

from PIL import Image

from tests.fakes import fake_spec
from use_cases.labelled.files import open_labelled
from use_cases.labelled.hashing import hash_set

RGB = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
BUNDLED = Path(__file__).parents[3] / "engines" / "bundled"


def write_colours(folder, each=2):
    """Make a folder for each colour, with so many pictures of slightly different shades."""
    for name, colour in RGB.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            shade = tuple(max(channel - 10 * number, 0) for channel in colour)
            Image.new("RGB", (12, 12), shade).save(folder / name / f"{number}.png")
    return folder


def hashed_colours(folder, each=2):
    return hash_set(open_labelled(str(write_colours(folder, each))))


def colour_spec(name="siglit-mini", score="sigmoid", **changes):
    """Return a spec whose folder is a bundled model's, so that its state can be told."""
    facts = {"folder": BUNDLED / "siglit-mini", "prompt_templates": ("{label}", "a {label} thing")}
    return fake_spec(name, score, **facts | changes)
