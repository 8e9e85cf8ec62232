"""Benchmarks: each module of this folder has ``run() -> list[Result]`` and measures its reference in the same run."""
