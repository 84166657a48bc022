"""A builder that knows no model: python -m tests.engines.failing_builder MODEL."""

import sys

from engines.artifacts.builders import builder_main
from engines.errors import UnknownModelError


def build():
    raise UnknownModelError(f"There is no model {sys.argv[1]!r}.")


if __name__ == "__main__":
    raise SystemExit(builder_main(build))
