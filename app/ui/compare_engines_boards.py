"""What is known about a model's engines: a committed record, a measurement of here, or the gate's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.services import Services
from engines.checkpoints.random_weights import PREFIX
from engines.errors import EngineError, InvalidInputError
from engines.factory import ENGINES
from engines.loading import EngineKey
from use_cases.comparison.badge import judge
from use_cases.comparison.engine_records import (
    StoredRecord,
    find_record,
    model_pages,
    origin,
    read_records,
    recorded_models,
    recorded_rows,
)
from use_cases.comparison.engine_tables import EngineTable
from use_cases.comparison.engines import EnginePlan, EngineRow, closeness

COMMITTED, MEASURED = "Committed record", "Measured here"  # the sources that a visitor may choose


@dataclass(frozen=True, slots=True)
class Board:
    """What is known about a model's engines, and where it is from."""

    table: EngineTable
    source: str  # COMMITTED, MEASURED, or empty for what the quality gate has kept
    facts: Mapping[str, Any]  # its origin, JSON values; empty where there is nothing to keep
    problems: Sequence[str]  # sentences about what could not be read


class Boards:
    """The boards of all models: read from the records once, and measured in this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._measured: dict[str, Board] = {}  # by model
        self._records, self._problems = read_records()

    @property
    def models(self) -> list[str]:
        """Return the offered models, then others that a committed record has."""
        return list(dict.fromkeys([*self._services.models, *recorded_models(self._records)]))

    def sources(self, model: str) -> list[str]:
        """Return where there are numbers of a model from, what is committed first."""
        found = {COMMITTED: find_record(self._records, model), MEASURED: self._measured.get(model)}
        return [source for source, known in found.items() if known is not None]

    def pages(self, model: str) -> list[tuple[StoredRecord, str]]:
        """Return what the other committed records show of a model."""
        return model_pages(self._records, model)

    async def board(self, model: str, source: str = "") -> Board:
        """Return what a source says about a model's engines, by default the committed record if there is one.

        Raises:
            InvalidInputError: when nothing is known about the model.
        """
        sources = self.sources(model)
        chosen = source if source in sources else (sources or [""])[0]
        if chosen == MEASURED:
            return self._measured[model]
        if record := find_record(self._records, model):
            return _recorded(record, model, self._problems)
        if model not in self._services.models:
            raise InvalidInputError(f"Nothing is known about the model {model[:80]!r}.")
        return await self._gated(model)

    def keep(self, board: Board, *, whole: bool = True) -> None:
        """Make a measurement the newest of its model, for all visitors, beside the committed record.

        Args:
            board: of the measurement.
            whole: it was not ended before its time; else it takes the place of no larger one.
        """
        known = self._measured.get(board.table.model)
        if whole or known is None or len(known.table.rows) <= len(board.table.rows):
            self._measured[board.table.model] = board

    async def _gated(self, model: str) -> Board:
        """Return what the quality gate has kept on this machine: badges without times."""
        rows = []
        for key in [EngineKey(model, engine) for engine in ENGINES]:
            try:
                quality = await self._services.pool.quality(key)
            except EngineError as error:  # such as a damaged checkpoint: its sentence stands in the row
                rows.append(
                    EngineRow(engine=key.engine, badge=judge(key.engine, None, str(error)), reason=str(error))
                )
                continue
            rows.append(EngineRow(engine=key.engine, badge=judge(key.engine, quality), **closeness(quality)))
        recorded = ", ".join(recorded_models(self._records)) or "none"
        sentence = (
            f"No committed record has times of {model}, and it was not measured on this server yet."
            f" Recorded models: {recorded}. Badges are of the quality gate on this machine."
        )
        return Board(EngineTable(model, None, tuple(rows), sentence), "", {}, self._problems)


def measured_board(plan: EnginePlan, rows: Sequence[EngineRow], facts: Mapping[str, Any]) -> Board:
    """Return a measurement, or as much of it as is done.

    Args:
        plan: of the measurement.
        rows: of the engines that are done.
        facts: of `measured_here`.
    """
    num_pictures = len(plan.held_out.pictures)
    sentence = (
        f"{plan.model} on {num_pictures} held-out pictures. {origin(facts)} One process an engine, on this"
        f" server.{_about_weights(plan.model)}"
    )
    facts = {**facts, "model": plan.model, "held_out_pictures": num_pictures}
    return Board(EngineTable(plan.model, num_pictures, tuple(rows), sentence), MEASURED, facts, ())


def _recorded(record: StoredRecord, model: str, problems: Sequence[str]) -> Board:
    sentence = f"{model}. Committed record {record.name}. {origin(record.content)}{_about_weights(model)}"
    facts = {name: value for name, value in record.content.items() if name != "results"} | {"model": model}
    return Board(
        EngineTable(model, None, tuple(recorded_rows(record, model)), sentence), COMMITTED, facts, problems
    )


def _about_weights(model: str) -> str:
    if not model.startswith(PREFIX):
        return ""
    return (
        " The weights are random: right for speed, memory and size, while the cosines only rank number"
        " formats."
    )
