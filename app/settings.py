"""Every setting of the server, read once from arguments, SIGLIP_* variables and .env."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engines.artifacts.store import default_cache_dir
from engines.batcher import BatcherLimits

_LIMITS = BatcherLimits()


def _default_host() -> str:
    """Return this machine only; on a hosted Space, which sets SPACE_ID, everybody."""
    return "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"


class Settings(BaseSettings):
    """The server's settings; arguments win over environment variables, those over .env."""

    model_config = SettingsConfigDict(
        env_prefix="SIGLIP_",
        env_file=Path(__file__).parent.parent / ".env",
        extra="ignore",
        frozen=True,
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    host: str = Field(
        default_factory=_default_host,
        description="address to listen on; 0.0.0.0 for all",
    )
    port: int = Field(default=7860, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    models: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None,
        description="comma-separated models to offer: bundled names, checkpoint folders, hub ids, open_clip's"
        " name/pretrained; when unset the best SigLIP and CLIP in the local hub cache, else the bundled pair",
    )
    download: bool = Field(
        default=True, description="download the models that these settings or the command line name"
    )
    allow_pickled_weights: bool = Field(
        default=False,
        description="read weights in torch's own format, as tensors alone, where nothing safer is",
    )
    engine: str | None = Field(
        default=None, description="engine for all models; each model's best when unset"
    )
    num_threads: int = Field(
        default=0, ge=0, description="threads per operator; 0 leaves it to the runtime: one per core"
    )
    gated: bool = Field(default=True, description="refuse quantized engines that are too far from float32")
    max_batch_size: int = Field(default=_LIMITS.max_batch_size, ge=1, description="items per engine call")
    max_wait_ms: float = Field(
        default=_LIMITS.max_wait_ms, ge=0, description="how long a request waits for company"
    )
    max_queue_size: int = Field(
        default=_LIMITS.max_queue_size, ge=1, description="waiting items before requests are refused"
    )
    cache_dir: Path = Field(default_factory=default_cache_dir, description="where exported models are kept")

    @field_validator("cache_dir")
    @classmethod
    def _expand_user(cls, value: Path) -> Path:
        return value.expanduser()

    @field_validator("models", mode="before")
    @classmethod
    def _split_models(cls, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",") if name.strip()]
        if not value:
            raise ValueError("name at least one model")
        return value

    @property
    def batcher_limits(self) -> BatcherLimits:
        """Return the three settings of the batcher."""
        return BatcherLimits(
            max_batch_size=self.max_batch_size,
            max_wait_ms=self.max_wait_ms,
            max_queue_size=self.max_queue_size,
        )


def setting_problems(error: ValidationError) -> str:
    """Return one line for each setting that cannot be used."""
    return "\n".join(
        f"error: setting {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
    )
