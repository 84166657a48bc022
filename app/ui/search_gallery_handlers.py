"""What the search tab does with galleries: list them, fill them, say how far that is, remove them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr

from app.rights import page_may
from app.services import Services
from app.ui.errors import shows_errors
from app.ui.html_parts import escape
from app.ui.search_progress import render_status
from app.ui.search_uploads import named_folder, store_dropped
from app.ui.sent_values import as_uploads
from app.ui.uploads import as_names, as_text
from engines.errors import InvalidInputError
from use_cases.retrieval.demo_gallery import DEMO
from use_cases.retrieval.errors import IndexNotAllowedError, IndexStorageError, UnknownIndexError
from use_cases.retrieval.sources import ImageFiles

# What is seen of a gallery: its status, whether to look again, whether it can be stopped.
Watched = tuple[Any, Any, Any]
_NOTHING = ("", gr.update(active=False), gr.update(visible=False))


class GalleryHandlers:
    """The handlers of the events about galleries.

    Those that change one, or ask about that, look at the request first: see `RequestRights`.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._galleries = services.galleries

    @shows_errors
    async def on_watch(self, gallery: Any, request: gr.Request) -> Watched:
        """Return how far a gallery has been filled; looked at again and again while that goes on."""
        return await self._watched(as_text("gallery", gallery), request)

    @shows_errors
    async def on_rights(self, request: gr.Request) -> tuple[Any, Any]:
        """Show what changes galleries, and the field for a folder, only where the page may do that."""
        return gr.update(visible=self._may_change(request)), gr.update(visible=bool(self._folders(request)))

    @shows_errors
    async def on_open(self, gallery: Any, request: gr.Request) -> tuple[Any, Any, Any, Any]:
        """Return the galleries that there are now, the chosen one if it still is, and its status."""
        names, chosen = self._galleries.names(), as_text("gallery", gallery)
        chosen = chosen if chosen in names else DEMO
        return gr.update(choices=names, value=chosen), *await self._watched(chosen, request)

    @shows_errors
    async def on_add(
        self, name: Any, uploads: Any, folder: Any, models: Any, request: gr.Request
    ) -> tuple[Any, ...]:
        """Begin to add images; return the galleries, with that one chosen, its status, and empty fields."""
        self._check_change(request)
        name, folder = as_text("gallery", name).strip(), as_text("folder", folder).strip()
        chosen = as_names("models", models)
        unknown = [model for model in chosen if model not in self._services.models]
        if unknown or not chosen:
            raise InvalidInputError(
                f"Choose at least one of the models {', '.join(self._services.models)} to embed the images."
            )
        files, files_folder = await self._files(as_uploads(uploads), folder, request)
        job = await self._galleries.add(name, files, chosen, files_folder=files_folder)
        self._services.metrics.index.watch(job)
        names = await asyncio.to_thread(self._galleries.names)
        return gr.update(choices=names, value=name), *await self._watched(name, request), None, ""

    @shows_errors
    async def on_cancel(self, gallery: Any, request: gr.Request) -> Watched:
        """Stop filling a gallery."""
        self._check_change(request)
        name = as_text("gallery", gallery)
        await self._galleries.cancel(name)
        return await self._watched(name, request)

    @shows_errors
    async def on_ask(self, gallery: Any, request: gr.Request) -> tuple[Any, str]:
        """Return the question before a gallery is removed, with how much would be lost."""
        self._check_change(request)
        name = as_text("gallery", gallery)
        if name == DEMO:
            raise InvalidInputError("The shipped gallery stays; choose one of your own above to remove it.")
        try:
            images = max((await self._galleries.status(name)).images.values(), default=0)
            content = f"its {images:,} images"
        except IndexStorageError:  # whoever wants to be rid of a damaged one must be able to
            content = "all that is in it; it is damaged and cannot be read,"
        question = f"Remove the gallery <b>{escape(name)}</b> with {content} from this server?"
        return gr.update(visible=True), f"<p>{question} Your own files stay where they are.</p>"

    @shows_errors
    async def on_remove(self, gallery: Any, request: gr.Request) -> tuple[Any, ...]:
        """Remove a gallery; return the others, their status, and hide the question."""
        self._check_change(request)
        await self._galleries.drop(as_text("gallery", gallery))
        names = await asyncio.to_thread(self._galleries.names)
        watched = await self._watched(DEMO, request)
        return gr.update(choices=names, value=DEMO), *watched, gr.update(visible=False)

    def _may_change(self, request: gr.Request) -> bool:
        return self._services.gallery_options.may_change and page_may(request.request, "indexing")

    def _folders(self, request: gr.Request) -> tuple[Path, ...]:
        return self._services.gallery_options.folders if page_may(request.request, "folders") else ()

    def _check_change(self, request: gr.Request) -> None:
        if not page_may(request.request, "indexing"):
            raise IndexNotAllowedError(
                "This page may only search here; who has an API key, or works on this machine, can change"
                " galleries with /v1/index."
            )

    async def _watched(self, gallery: str, request: gr.Request) -> Watched:
        if gallery not in await asyncio.to_thread(self._galleries.names):
            return _NOTHING  # somebody else removed it
        try:
            status = await self._galleries.status(gallery)
        except (IndexStorageError, UnknownIndexError) as error:  # damaged, or somebody just removed it
            return f"<p>{escape(str(error))}</p>", gr.update(active=False), gr.update(visible=False)
        running = status.job is not None and not status.job.has_ended
        may_stop = running and gallery != DEMO and self._may_change(request)
        is_to_come = status.job is None and gallery == DEMO and self._services.gallery_options.builds_demo
        look_again = running or is_to_come
        return render_status(status), gr.update(active=look_again), gr.update(visible=may_stop)

    async def _files(
        self, uploads: list[Any], folder: str, request: gr.Request
    ) -> tuple[ImageFiles, Path | None]:
        if uploads and folder:
            raise InvalidInputError("Drop files or name a folder, one at a time.")
        options = self._services.gallery_options
        if folder:
            return await asyncio.to_thread(named_folder, folder, self._folders(request)), None
        stored = await store_dropped(options.root, uploads)
        return stored.files, stored.folder
