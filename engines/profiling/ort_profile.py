"""ONNX Runtime's own profile of a tower's graph, for the engines onnx-*."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime as ort

from engines.errors import BackendUnavailableError
from engines.factory import EngineOptions, load_engine
from engines.models import ModelSpec
from engines.onnx.engine import GraphEngine
from engines.onnx.graphs import EMBEDDINGS, IMAGE_GRAPH, TEXT_GRAPH
from engines.onnx.ort_runtime import OrtRuntime, open_session, session_options
from engines.preparation.inputs import image_inputs, text_inputs
from engines.profiling.blocks import Place, Tower
from engines.profiling.calls import Call, CallLimits, Step, repeat_call
from engines.profiling.products import Shape, ort_flop
from engines.profiling.profilers import ProfilerOptions

_NODE = "_kernel_time"  # ends the names of the profile's events of nodes
_RUN = "model_run"  # is the name of its events of calls


class OrtProfiler:
    """A tower's graph: in the session that the engine runs, and in another one that writes a profile."""

    runtime_function = OrtRuntime.run

    def __init__(self, engine: GraphEngine, tower: Tower, options: ProfilerOptions) -> None:
        """Open the tower's graph.

        Raises:
            BackendUnavailableError: when it cannot be opened.
        """
        runtime = OrtRuntime(options.num_threads, options.allocator)
        self.engine = GraphEngine(engine.spec, name=engine.name, folder=engine.folder, runtime=runtime)
        self._graph = engine.folder / (IMAGE_GRAPH if tower == "image" else TEXT_GRAPH)
        self._stack: Any = image_inputs if tower == "image" else text_inputs
        self._options = options
        runtime.open(self._graph)

    def record(self, items: Sequence[Any], limits: CallLimits, trace: Path | None = None) -> list[Call]:
        """Call the tower under the profiler; see `TowerProfiler`.

        A call's time is the session's: stacking the batch and normalising the rows are not in it.
        """
        inputs = self._stack(self.engine.spec, items)
        with TemporaryDirectory(prefix="siglip-profile-") as folder:
            executed = Path(folder) / "executed.onnx"
            session = self._profiling_session(executed)
            repeat_call(lambda: session.run([EMBEDDINGS], inputs), limits)
            profile = Path(session.end_profiling())
            if trace is not None:
                shutil.copyfile(profile, trace)
            events = json.loads(profile.read_text("utf-8"))
            modules = self._modules(executed)
        return read_calls(events, modules)[limits.num_warmup :]

    def _modules(self, executed: Path) -> dict[str, str]:
        import onnx  # here, because an engine does without and is not to be charged with its memory

        from engines.profiling.ort_nodes import find_modules

        opened = onnx.load(self._graph, load_external_data=False)
        return find_modules(opened, onnx.load(executed, load_external_data=False), self.engine.spec.family)

    def _profiling_session(self, executed: Path) -> ort.InferenceSession:
        """Open the graph so that it leaves a profile, and beside that the graph as it is executed."""
        options = session_options(self._options.num_threads, self._options.allocator)
        options.enable_profiling = True
        options.profile_file_prefix = str(executed.with_name("profile"))
        options.optimized_model_filepath = str(executed)
        return open_session(self._graph, options)


def load(spec: ModelSpec, engine: str, tower: Tower, options: ProfilerOptions) -> OrtProfiler:
    """Load an engine; see `load_profiler`."""
    loaded = load_engine(spec, engine, EngineOptions(num_threads=options.num_threads, gated=False))
    assert isinstance(loaded, GraphEngine)
    return OrtProfiler(loaded, tower, options)


def read_calls(events: Iterable[Mapping[str, Any]], modules: Mapping[str, str]) -> list[Call]:
    """Return the calls of a profile, in the order of time.

    Args:
        events: of the profile.
        modules: of nodes, by the nodes' names.

    Raises:
        BackendUnavailableError: when the profile has none, because this runtime writes another kind.
    """
    timed = sorted((event for event in events if "dur" in event), key=lambda event: float(event["ts"]))
    nodes = [event for event in timed if event["name"].endswith(_NODE)]
    calls = []
    for run in (event for event in timed if event["name"] == _RUN):
        end = run["ts"] + run["dur"]
        steps = [_step(node, modules) for node in nodes if run["ts"] <= node["ts"] < end]
        calls.append(Call(run["dur"] / 1000, tuple(steps)))
    if not any(call.steps for call in calls):
        raise BackendUnavailableError(f"This ONNX Runtime ({ort.__version__}) wrote no profile of a call.")
    return calls


def _step(event: Mapping[str, Any], modules: Mapping[str, str]) -> Step:
    module = modules.get(str(event["name"]).removesuffix(_NODE))
    facts = event["args"]
    flop = ort_flop(facts["op_name"], *(_shapes(facts[f"{side}_type_shape"]) for side in ("input", "output")))
    return Step(Place(module, facts["op_name"]), event["dur"] / 1000, flop)


def _shapes(tensors: Sequence[Mapping[str, Shape]]) -> list[Shape]:
    """Return the shapes of tensors that are given by their types."""
    return [shape for tensor in tensors for shape in tensor.values()]
