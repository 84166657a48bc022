"""A worker that only pretends to profile, with fixed times."""

from engines.profiling.blocks import OTHER

FLOPS = {
    "patch embedding": 2_000_000,
    "block 0 attention": 6_000_000,
    "final norm": 0,
    "projection": 4_000_000,
}
BLOCK_MS = {
    "block 0 attention": 3.0,
    "patch embedding": 1.0,
    "final norm": 0.5,
    "projection": 5.0,
    OTHER: 0.5,
}


class FakeWorker:
    """Answers every task of a profile; `jobs` lists what it was asked."""

    def __init__(self, peaks=(10.0, 10.0), int8=((20.0, 40.0), (20.0, 40.0))):
        self.jobs = []
        self.peaks = list(peaks)
        self.int8 = list(int8)

    def __call__(self, job):
        self.jobs.append(job)
        return getattr(self, job["task"])(job)

    def tasks(self):
        return [(job["task"], job.get("engine")) for job in self.jobs]

    def profile(self, job):
        slow = 2.0 if job["engine"].startswith("torch") else 1.0
        flops = (None, 4_000_000, 0)  # of 12 million, so the first one did 8
        operators = [
            {"operator": f"Op{number}", "num_runs": 2, "ms": 8.0 - number, "flop": flop}
            for number, flop in enumerate(flops)
        ]
        blocks = {name: ms * slow for name, ms in BLOCK_MS.items()}
        shares = {"I/O": 0.01, "decode": 0.04, "prepare": 0.05, "engine call": 0.85, "Python": 0.05}
        foreign = {"foreign_cores": 1.0 if job["engine"] == "bnb-int8" else 0.0}
        return (
            self.profile_memory(job)
            | foreign
            | {
                "profile": {
                    "num_calls": 9,
                    "wall_ms": 10.0 * slow,
                    "block_ms": blocks,
                    "operators": operators,
                },
                "request": {"num_requests": 4, "ms": 30.0, "shares": shares, "reason": None},
            }
        )

    def profile_memory(self, job):
        memory = {"import_bytes": 1, "load_bytes": 2, "first_bytes": 3, "steady_bytes": 4}
        foreign = 0.5 if job["task"] == "profile_memory" else 0.0
        return {"memory": memory, "call_ms": 9.5, "foreign_cores": foreign}

    def profile_flops(self, job):
        return {"flops": FLOPS}

    def profile_peak(self, job):
        peak = {"float32_gflops": self.peaks.pop(0), "library": "NumPy", "foreign_cores": 0.0}
        if not job["int8"]:
            return peak
        gops, peak_gops = self.int8.pop(0)
        return peak | {"int8_gops": gops, "int8_peak_gops": peak_gops}
