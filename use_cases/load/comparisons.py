"""Compare a server with the work alone, with itself, and its batch policy with others; in rounds."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence

from engines.errors import EngineError
from use_cases.latency import summarize
from use_cases.load.connection import LoadTestError
from use_cases.load.plan import LoadPlan
from use_cases.load.policies import ADAPTIVE
from use_cases.load.quantities import Quantities, Round, Subject
from use_cases.load.samples import Comparison

_UNITS = {
    "overhead": "of the loop's rate lost",
    "lone": "ms beside the engine call",
    "repeat": "x the repeated request's time",
    "labels": "x the single request's time",
    "policy": "x the best fixed policy's rate",
}
logger = logging.getLogger(__name__)


def compare_all(subject: Subject, plan: LoadPlan, model: str) -> list[Comparison]:
    """Measure every comparison once a round.

    Args:
        subject: what is compared.
        plan: how often and how long.
        model: its name in the results.

    Returns:
        each of them; one that an error ended has the error as its reason, and is not tried again.
    """
    quantities = Quantities(subject, plan)
    rounds: dict[str, list[Round]] = {}
    reasons: dict[str, str] = {}
    for number in range(plan.rounds):
        for name, measure in quantities.by_name.items():
            if name in reasons:
                continue
            logger.info("round %d of %d: %s", number + 1, plan.rounds, name)
            try:
                rounds.setdefault(name, []).append(measure(number))
            except (EngineError, LoadTestError) as error:  # a result, not an end: what was measured stays
                # The reason may go into a record, and the address is nobody's business.
                reasons[name] = str(error).replace(subject.server.address, "URL")
                logger.warning("%s is not available: %s", name, error)
    return [
        Comparison(
            model=model, engine=subject.engine, measurement=name, unit=_UNITS[name], reason=reasons[name]
        )
        if name in reasons
        else _summarized(model, subject.engine, name, rounds[name])
        for name in quantities.by_name
    ]


def against_best_fixed(rounds: Sequence[Round]) -> list[Round]:
    """Return the rounds with the adaptive policy's rate as a share of the best fixed one's.

    The best is the one with the highest median: the highest rate of each round would be a lucky one.
    """
    fixed = {
        name: statistics.median(each.parts[name] for each in rounds)
        for name in rounds[0].parts
        if name != ADAPTIVE
    }
    best = max(fixed, key=lambda name: fixed[name])
    return [
        each._replace(value=each.parts[ADAPTIVE] / each.parts[best], note=f"best fixed: {best}")
        for each in rounds
    ]


def _summarized(model: str, engine: str, name: str, rounds: Sequence[Round]) -> Comparison:
    if name == "policy":
        rounds = against_best_fixed(rounds)
    foreign = [each.foreign_cores for each in rounds]
    parts = {
        part: summarize([each.parts[part] for each in rounds], foreign)
        for part in rounds[0].parts
        if all(part in each.parts for each in rounds)
    }
    notes = dict.fromkeys(each.note for each in rounds if each.note)
    return Comparison(
        model=model,
        engine=engine,
        measurement=name,
        unit=_UNITS[name],
        value=summarize([each.value for each in rounds], foreign),
        parts=parts,
        note="; ".join(notes) or None,
    )
