"""Composition root: settings -> engines -> services -> FastAPI with Gradio mounted; and the launcher."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_settings import CliApp

from app.fast_gradio import skip_editor_help
from app.services import Services, build_services
from app.settings import Settings, setting_problems
from engines.errors import EngineError
from engines.machine.garbage import collector_at_rest
from use_cases.telemetry.sampling import keep_sampling

if TYPE_CHECKING:
    from fastapi import FastAPI

# Between two looks of Gradio at its queue of page events, and at what their progress bars show. At its own
# pace, a thousand looks a second, an idle server keeps a quarter of a core busy, and a busy one takes it
# from the engines.
QUEUE_PAUSE_S = 0.01
PROGRESS_PAUSE_S = 0.1

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the whole server; for `uvicorn --factory app.main:create_app` as well.

    Raises:
        EngineError: when a configured model or engine does not exist.
    """
    settings = settings or Settings()
    return build_app(settings, build_services(settings))


def build_app(settings: Settings, services: Services) -> FastAPI:
    """Put the doors around the services."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # a local demo calls nobody
    # Importing Gradio takes longer than loading the bundled models, so it starts after them.
    skip_editor_help()
    import gradio as gr
    from fastapi_offline import FastAPIOffline

    from app.api.context import Context
    from app.api.middleware.stack import add_middleware
    from app.api.routes import add_routes
    from app.ui.compare_pictures import shipped_pictures
    from app.ui.demo import CSS, THEME, build_demo
    from app.ui.downloads import guard_downloads
    from app.ui.mcp_answers import answer_in_json

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sampling = keep_sampling(services.telemetry, services.pool, lambda: services.metrics.in_work)
        chores = [services.pool.keep_house(), sampling]
        if services.gallery_options.builds_demo:
            chores.append(services.build_demo_gallery())
        tasks = [asyncio.get_running_loop().create_task(chore) for chore in chores]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.close()
        if node := getattr(
            demo, "node_process", None
        ):  # of server-side rendering, which Gradio leaves behind
            node.terminate()

    demo = build_demo(services)
    guard_downloads(allow_urls=settings.allow_urls)
    with_mcp = settings.mcp and importlib.util.find_spec("mcp") is not None
    if with_mcp:
        answer_in_json()
    api = FastAPIOffline(  # its /docs need no other site
        title="SigLIP-as-Server",
        version="1",
        description="SigLIP and CLIP on a CPU: embeddings, classification, similarity, image search, patch"
        " features.",
        lifespan=lifespan,
    )
    add_routes(api, Context.of(settings, services))
    add_middleware(api, settings, services.metrics)
    gr.mount_gradio_app(
        api,
        demo,
        path="/",
        theme=THEME,
        css=CSS,
        auth=settings.user_and_password,
        allowed_paths=[str(path.resolve()) for path in shipped_pictures().values()],
        max_file_size=int(settings.max_body_mb * 1e6),  # of archives; images have a limit of their own
        mcp_server=with_mcp,
        show_error=False,  # of bugs; what users can act on is a gr.Error, which is always shown
    )
    demo.open_to_visitors()
    demo._queue.sleep_when_free = QUEUE_PAUSE_S
    demo._queue.progress_update_sleep_when_free = PROGRESS_PAUSE_S
    return api


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit code, 2 for settings that cannot be used."""
    _log_to_stderr()
    try:
        settings = CliApp.run(Settings, cli_args=list(sys.argv[1:] if argv is None else argv))
        from app.server import listen

        with listen(settings.host, settings.port) as listener:
            _serve(settings, listener)
    except ValidationError as error:
        print(setting_problems(error), file=sys.stderr)
        return 2
    except (EngineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the server listens to signals
        pass
    return 0


def _serve(settings: Settings, listener: socket.socket) -> None:
    from app.server import GracefulServer, address_to_show

    with collector_at_rest():
        services = build_services(settings)
        api = build_app(settings, services)
    logger.info("Open %s in a browser; stop with Ctrl+C.", address_to_show(listener))
    server = GracefulServer(
        api,
        services,
        root_path=settings.root_path,
        trusted_proxies=settings.trusted_proxies,
        grace_s=settings.grace_s,
    )
    server.run(sockets=[listener])
    if services.pool.hangs:  # Python would wait for native code that never ends, or abort
        logging.shutdown()
        os._exit(0)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    access = logging.getLogger("siglip.access")  # its lines are JSON and nothing else
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    access.handlers, access.propagate = [handler], False
    logging.getLogger("mcp").setLevel(logging.WARNING)  # it tells of each call
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log the URLs that are fetched
