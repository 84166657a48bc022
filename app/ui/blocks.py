"""GuardedBlocks: Gradio's page, which takes no file that did not come through its own upload."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.exceptions import InvalidPathError
from pydantic import ValidationError

_UPLOAD_FIRST = (
    "A file must be uploaded first: in Python pass gradio_client.handle_file(path), over HTTP what"
    ' /gradio_api/upload answered, as {"path": ..., "meta": {"_type": "gradio.FileData"}}, in a'
    " tool call a data URI."
)


class GuardedBlocks(gr.Blocks):
    """gr.Blocks for a page that is mounted in another app.

    Until a page has launched a server of its own, and a mounted one never does, Gradio copies whatever file
    of this machine a request names to where visitors and handlers may read it.
    """

    def open_to_visitors(self) -> None:
        """Check from now on which files requests name; call it when the page is mounted."""
        self.has_launched = True

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """Turn what a request sends into the handlers' inputs.

        Raises:
            gr.Error: one sentence, when that is no file that was uploaded, or not what a component holds.
        """
        try:
            return await super().preprocess_data(*args, **kwargs)
        except (InvalidPathError, ValidationError) as error:
            raise gr.Error(_UPLOAD_FIRST, print_exception=False) from error
