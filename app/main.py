"""Composition root: settings -> engines -> services -> FastAPI with Gradio mounted; and the launcher."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import CliApp

from app.fast_gradio import skip_type_stubs
from app.services import build_services
from app.settings import Settings, setting_problems
from engines.errors import EngineError
from engines.preparation.images import MAX_IMAGE_BYTES

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the whole server; for `uvicorn --factory app.main:create_app` as well.

    Raises:
        EngineError: when a configured model or engine does not exist.
    """
    services = build_services(settings or Settings())
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # a local demo calls nobody
    # Importing Gradio takes longer than loading the bundled models, so it starts after them.
    skip_type_stubs()
    import gradio as gr
    from fastapi import FastAPI

    from app.api.routes import build_router
    from app.ui.demo import CSS, THEME, build_demo
    from app.ui.no_downloads import refuse_downloads

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await services.pool.close()

    refuse_downloads()
    api = FastAPI(title="SigLIP-as-Server", lifespan=lifespan)
    api.include_router(build_router(services))
    gr.mount_gradio_app(
        api,
        build_demo(services),
        path="/",
        theme=THEME,
        css=CSS,
        max_file_size=MAX_IMAGE_BYTES,
        show_error=False,  # of bugs; what users can act on is a gr.Error, which is always shown
    )
    return api


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit code, 2 for settings that cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        settings = CliApp.run(Settings, cli_args=list(sys.argv[1:] if argv is None else argv))
        with _listen(settings) as listener:
            _serve(create_app(settings), listener)
    except ValidationError as error:
        print(setting_problems(error), file=sys.stderr)
        return 2
    except (EngineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # uvicorn has shut down and passes it on
        pass
    return 0


def _serve(api: FastAPI, listener: socket.socket) -> None:
    import uvicorn

    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    logger.info("Open http://%s:%s in a browser; stop with Ctrl+C.", shown, port)
    uvicorn.Server(uvicorn.Config(api, log_level="warning")).run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    """Bind the port before anything slow happens, so that a taken one is reported at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise OSError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another with --port"
        ) from None
