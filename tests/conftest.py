"""Fixtures that several test folders share; and what has to be set before libraries are imported."""

import os
import tempfile
from pathlib import Path

# Settings of a server on this machine are not the tests'; app.settings looks when it is imported.
os.environ["SIGLIP_ENV_FILE"] = os.devnull

import certifi
import pytest
from filelock import FileLock
from PIL import Image

from app.fast_gradio import skip_editor_help
from engines.pytorch.torchvision_ops import ensure_torchvision_operators

ensure_torchvision_operators()
skip_editor_help()

# HTTP clients read all authorities that the world trusts for each request of a test, a tenth of a second
# each time; no test speaks TLS with a stranger, so that one authority does.
_AUTHORITY = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115 - it goes when the tests end
_END = b"-----END CERTIFICATE-----\n"
_AUTHORITY.write(Path(certifi.where()).read_bytes().partition(_END)[0] + _END)
_AUTHORITY.flush()
os.environ["SSL_CERT_FILE"] = _AUTHORITY.name


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def red_image():
    return Image.new("RGB", (40, 30), "red")


@pytest.fixture
def red_png(tmp_path, red_image):
    red_image.save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """Return a folder that is the same for all workers and goes when the tests end."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def cache_dir(shared_folder):
    """Return where the artifacts of tiny checkpoints go."""
    return shared_folder / "artifacts"


@pytest.fixture(scope="session")
def build_once(shared_folder):
    """Return a function that builds a checkpoint unless another worker has: its folder."""

    def build_once(build, name):
        folder = shared_folder / name
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                folder.mkdir()
                build(folder)
        return folder

    return build_once
