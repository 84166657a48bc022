"""An image input that hands over the file itself, so that every door decodes images the same way."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData


class ImageFile(gr.Image):
    """gr.Image whose value is the path of the uploaded file, whatever it holds.

    gr.Image opens the file with Pillow first: any format that Pillow knows, no limit on pixels, and
    a damaged file ends in an error message about the component. (No __init__ here: Gradio builds
    the frontend's configuration from the signature of gr.Image's.)
    """

    def get_block_name(self) -> str:
        """Return the name of the frontend component, which is gr.Image's."""
        return "image"

    def preprocess(self, payload: ImageData | None) -> str | None:
        """Return the path of the file in Gradio's upload folder, None when there is no image."""
        if payload is None:
            return None
        # Gradio checks where a file lies only if the request marks it as a file, which a hostile one need not.
        uploads = Path(self.GRADIO_CACHE).resolve()
        path = Path(payload.path or "").resolve()
        if not path.is_relative_to(uploads) or not path.is_file():
            raise gr.Error("The image did not arrive; upload it again.", print_exception=False)
        return str(path)
