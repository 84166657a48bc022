"""Every setting of the server, read once from arguments, SIGLIP_* variables and .env."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    Field,
    FiniteFloat,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engines.artifacts.store import default_cache_dir
from engines.errors import InvalidInputError
from engines.home import expand_home
from engines.housekeeping import PoolLimits
from engines.worker.cache import DEFAULT_BYTES
from engines.worker.calls import BatcherLimits
from use_cases.retrieval.galleries import GalleryOptions

# To change galleries, to start what keeps the machine busy for minutes, to name folders of this machine.
Right: TypeAlias = Literal["indexing", "measuring", "folders"]
ENV_FILE = "SIGLIP_ENV_FILE"  # names another file than .env
LISTS = ("api_keys", "cors_origins", "index_folders", "trusted_proxies")
_LIMITS = BatcherLimits()
_POOL_LIMITS = PoolLimits()


def _default_host() -> str:
    """Return this machine only; on a hosted Space, which sets SPACE_ID, everybody."""
    return "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"


def _default_proxies() -> tuple[str, ...]:
    """Return nobody; on a hosted Space the network that its visitors come through."""
    return ("10.0.0.0/8",) if "SPACE_ID" in os.environ else ()


class Settings(BaseSettings):
    """The server's settings; arguments win over environment variables, those over .env."""

    model_config = SettingsConfigDict(
        env_prefix="SIGLIP_",
        env_file=os.environ.get(ENV_FILE) or Path(__file__).parent.parent / ".env",
        extra="ignore",
        frozen=True,
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_shortcuts={"models": "model"},
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
        default=0,
        ge=0,
        description="threads per operator; 0 leaves it to the runtime, within the cores that it may use",
    )
    gated: bool = Field(default=True, description="refuse quantized engines that are too far from float32")
    max_batch_size: int = Field(default=_LIMITS.max_batch_size, ge=1, description="items per engine call")
    max_wait_ms: FiniteFloat = Field(
        default=_LIMITS.max_wait_ms,
        ge=0,
        description="the longest that a request is held back for company, where company pays",
    )
    max_queue_size: int = Field(
        default=_LIMITS.max_queue_size, ge=1, description="waiting items before requests are refused"
    )
    target_p95_ms: FiniteFloat = Field(
        default=_LIMITS.target_p95_ms,
        gt=0,
        description="what 95 of 100 requests should take; an engine call may take half of it",
    )
    parallel: bool = Field(
        default=True,
        description="answer many requests by calls on one core each, where that gets more done; takes memory",
    )
    call_timeout_s: FiniteFloat = Field(
        default=_LIMITS.call_timeout_s, gt=0, description="an engine call that takes longer counts as hanging"
    )
    cache_mb: FiniteFloat = Field(
        default=DEFAULT_BYTES / 1e6, ge=0, description="memory for embeddings of images and texts seen before"
    )
    text_cache: Path | None = Field(
        default=None, description="file that keeps the embeddings of texts over a restart; none when unset"
    )
    canary_interval_s: FiniteFloat = Field(
        default=_POOL_LIMITS.canary_interval_s,
        ge=0,
        description="between two checks that each engine still answers, and right; 0 never checks",
    )
    idle_unload_s: FiniteFloat = Field(
        default=_POOL_LIMITS.idle_unload_s, ge=0, description="unload an engine unused for so long; 0 never"
    )
    memory_limit_mb: FiniteFloat = Field(
        default=_POOL_LIMITS.memory_limit_mb,
        ge=0,
        description="resident memory above which the least recently used engine is unloaded; 0 never",
    )
    max_images: int = Field(default=64, ge=1, description="images in one REST request")
    max_texts: int = Field(default=2048, ge=1, description="texts in one REST request")
    max_body_mb: FiniteFloat = Field(
        default=100.0, gt=0, description="size of a REST request, and of what its URLs bring together"
    )
    request_timeout_s: FiniteFloat = Field(
        default=60.0,
        ge=0,
        description="time for a REST request, which its header X-Request-Timeout may shorten; 0 is no limit",
    )
    requests_per_minute: int = Field(
        default=0, ge=0, description="requests that one client may send in any minute; 0 is no limit"
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="comma-separated; REST, MCP and metrics need one of them when set"
    )
    auth: SecretStr | None = Field(
        default=None, description="user:password for the page and its endpoints; open when unset"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="comma-separated origins whose pages may call the REST API; none when unset"
    )
    allow_urls: bool = Field(
        default=False, description="fetch images from public http(s) URLs that REST requests name"
    )
    mcp: bool = Field(default=True, description="offer the endpoints as MCP tools, where mcp is installed")
    root_path: str = Field(
        default="",
        description="path under which a proxy serves this app, such as /siglip; the proxy takes it away",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=_default_proxies,
        description="comma-separated addresses and networks of proxies whose X-Forwarded-For tells who asks;"
        " this machine's when unset",
    )
    grace_s: FiniteFloat = Field(
        default=20.0, gt=0, description="time for requests in work to finish when the server is stopped"
    )
    cache_dir: Path = Field(default_factory=default_cache_dir, description="where exported models are kept")
    index_dir: Path | None = Field(
        default=None, description="where the galleries' indexes are kept; in the cache folder when unset"
    )
    demo_gallery: bool = Field(default=True, description="embed the shipped gallery when the server starts")
    allow_indexing: bool | None = Field(
        default=None,
        description="let clients add and remove images and galleries; when unset, if only this machine can"
        " reach the server, or it asks for a password and API keys",
    )
    allow_measuring: bool | None = Field(
        default=None,
        description="let visitors start what keeps the server busy, such as measuring engines; when unset, in"
        " the same cases",
    )
    index_folders: Annotated[tuple[Path, ...] | None, NoDecode] = Field(
        default=None,
        description="comma-separated folders of the server that the page may index; when unset the home"
        " folder if only this machine can reach the server, else none",
    )
    max_galleries: int = Field(default=20, ge=0, description="galleries that clients may make")
    max_gallery_images: int = Field(default=100_000, ge=1, description="images in each of them")

    @model_validator(mode="before")
    @classmethod
    def _check_env_file(cls, values: Any) -> Any:
        named = os.environ.get(ENV_FILE)
        if named and not Path(named).exists():  # it may hold the keys that guard the server
            raise ValueError(f"{ENV_FILE} names {named!r}, which is not there")
        return values

    @field_validator("cache_dir", "text_cache", "index_dir")
    @classmethod
    def _expand_user(cls, value: Path | None) -> Path | None:
        try:
            return expand_home(value) if value else None
        except InvalidInputError as error:
            raise ValueError(str(error)) from None

    @field_validator("models", *LISTS, mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("*", mode="before")  # it runs before `_split`, because it stands after it
    @classmethod
    def _unset(cls, value: Any, info: ValidationInfo) -> Any:
        """Take an empty value, as containers pass on what nobody has set, for none; a list is empty then."""
        if value != "" or info.field_name is None or info.field_name in LISTS:
            return value
        return cls.model_fields[info.field_name].get_default(call_default_factory=True, validated_data={})

    @field_validator("models")
    @classmethod
    def _some_models(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise ValueError("name at least one model")
        return value

    @field_validator("auth")
    @classmethod
    def _user_and_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not all(value.get_secret_value().partition(":")):
            raise ValueError("must be user:password")
        return value

    @field_validator("api_keys")
    @classmethod
    def _usable_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(re.fullmatch(r"[!-~]{16,}", key.get_secret_value()) for key in value):
            raise ValueError("a key must be 16 printable ASCII characters or more, without spaces")
        return value

    @field_validator("root_path")
    @classmethod
    def _path(cls, value: str) -> str:
        if not re.fullmatch(r"[\w.~/-]*", value):
            raise ValueError("must be a path such as /siglip")
        return "".join(f"/{part}" for part in value.split("/") if part)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise ValueError(f"{each!r} is no address, and no network such as 10.0.0.0/8") from None
        return value

    @property
    def user_and_password(self) -> tuple[str, str] | None:
        """Return the page's user and password, if it asks for them."""
        if self.auth is None:
            return None
        user, _, password = self.auth.get_secret_value().partition(":")
        return user, password

    @property
    def batcher_limits(self) -> BatcherLimits:
        """Return the settings of the batcher."""
        names = {field.name for field in fields(BatcherLimits)} & type(self).model_fields.keys()
        return BatcherLimits(**{name: getattr(self, name) for name in names})

    @property
    def gallery_options(self) -> GalleryOptions:
        """Return where the galleries are, and what clients may do with them."""
        folders = self.index_folders
        if folders is None:
            folders = (Path.home(),) if self._is_local else ()
        return GalleryOptions(
            root=self.index_dir or self.cache_dir / "indexes",
            builds_demo=self.demo_gallery,
            may_change=self._is_trusted if self.allow_indexing is None else self.allow_indexing,
            folders=tuple(expand_home(folder).resolve() for folder in folders),
            max_galleries=self.max_galleries,
            max_images=self.max_gallery_images,
        )

    @property
    def may_measure(self) -> bool:
        """Tell whether visitors may start what keeps the server busy for long."""
        return self._is_trusted if self.allow_measuring is None else self.allow_measuring

    @property
    def local_only(self) -> frozenset[Right]:
        """Return what is allowed for no other reason than that only this machine can reach the server."""
        chosen: dict[Right, object] = {
            "indexing": self.allow_indexing,
            "measuring": self.allow_measuring,
            "folders": self.index_folders,
        }
        if not self._is_local:
            return frozenset()
        guarded: set[Right] = {"indexing", "measuring"} if self._is_guarded else set()
        return frozenset(right for right, value in chosen.items() if value is None) - guarded

    @property
    def _is_trusted(self) -> bool:
        """Tell whether no stranger can reach the server."""
        return self._is_local or self._is_guarded

    @property
    def _is_guarded(self) -> bool:
        """Tell whether every door asks who is there: a password guards the page alone, keys the others."""
        return self.auth is not None and bool(self.api_keys)

    @property
    def _is_local(self) -> bool:
        """Tell whether only this machine can reach the server: a proxy before it lets others in."""
        return not self.root_path and self.host in ("127.0.0.1", "localhost", "::1")

    @property
    def pool_limits(self) -> PoolLimits:
        """Return the settings of the engine pool."""
        return PoolLimits(**{field.name: getattr(self, field.name) for field in fields(PoolLimits)})


def setting_problems(error: ValidationError) -> str:
    """Return one line for each setting that cannot be used."""
    return "\n".join(
        f"error: {_place(problem['loc'])}{problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors()
    )


def _place(names: tuple[int | str, ...]) -> str:
    return f"setting {'.'.join(map(str, names))}: " if names else ""
