"""Texts that no tokenizer takes are refused with a sentence, wherever they come in."""

import pytest

from engines.errors import InvalidInputError
from use_cases.embedding import check_text
from use_cases.texts import check_utf8


@pytest.mark.parametrize("text", ["", "a cat", "Käse 🧀", "\x00"])
def test_text_is_text(text):
    check_utf8("label", text)


def test_half_a_character_is_refused():
    with pytest.raises(
        InvalidInputError, match=r"^The label is not valid UTF-8 at 'a\\udcff'; write it anew\.$"
    ):
        check_utf8("label", "a\udcff")
    with pytest.raises(InvalidInputError, match="The text is not valid UTF-8"):
        check_text("a \ud800 cat")
