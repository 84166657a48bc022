"""An engine whose package is missing says how to install it."""

import pytest

from engines.errors import BackendUnavailableError
from engines.factory import load_engine


@pytest.mark.parametrize(
    ("engine", "line"),
    [("bnb-nf4", "pip install bitsandbytes accelerate"), ("openvino", "pip install openvino")],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch, tiny_clip, engine, line):
    monkeypatch.setattr("engines.optional_packages.find_spec", lambda package: None)
    with pytest.raises(BackendUnavailableError, match=line):
        load_engine(str(tiny_clip), engine)
