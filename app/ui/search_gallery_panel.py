"""The part of the search tab in which a visitor makes a gallery of their own, and removes one."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.services import Services

CSS = """
.own-hint { margin: 0; font-size: .85rem; color: var(--body-text-color); opacity: .75; }
"""


@dataclass(frozen=True, slots=True)
class GalleryPanel:
    """What a visitor fills in to add images, and the buttons."""

    accordion: gr.Accordion
    name: gr.Textbox
    files: gr.File
    folder: gr.Textbox
    models: gr.CheckboxGroup
    add: gr.Button
    remove: gr.Button
    confirmation: gr.Group
    question: gr.HTML
    really_remove: gr.Button
    keep: gr.Button

    @property
    def components(self) -> list[gr.components.Component]:
        """Return what describes the images to add, in the order of `on_add`'s parameters."""
        return [self.name, self.files, self.folder, self.models]


def build_gallery_panel(services: Services) -> GalleryPanel:
    """Add the panel to the surrounding column; folders only where the server allows some."""
    models, folders = services.models, services.gallery_options.folders
    with gr.Accordion("Add your own images", open=False, elem_id="search-own") as accordion:
        name = gr.Textbox(
            label="Gallery name", placeholder="holiday-2024", info="A new one, or one to add to.", max_lines=1
        )
        files = gr.File(
            label="Images, or one zip archive",
            file_count="multiple",
            file_types=["image", ".zip", ".txt"],
            height=170,
            elem_id="search-files",
        )
        gr.HTML('<p class="own-hint">A file photo.txt among them is the caption of photo.jpg.</p>')
        folder = gr.Textbox(
            label="Or a folder of this machine",
            placeholder=str(folders[0] / "Pictures") if folders else "",
            max_lines=1,
            visible=bool(folders),
        )
        chosen = gr.CheckboxGroup(list(models), value=list(models), label="Embed with")
        with gr.Row():
            add = gr.Button("Add", variant="primary", min_width=100)
            remove = gr.Button("Remove gallery", min_width=100)
        with gr.Group(visible=False) as confirmation:
            question = gr.HTML(padding=True)
            with gr.Row():
                really_remove = gr.Button("Remove it", variant="stop", min_width=100)
                keep = gr.Button("Keep it", min_width=100)
    return GalleryPanel(
        accordion=accordion,
        name=name,
        files=files,
        folder=folder,
        models=chosen,
        add=add,
        remove=remove,
        confirmation=confirmation,
        question=question,
        really_remove=really_remove,
        keep=keep,
    )
