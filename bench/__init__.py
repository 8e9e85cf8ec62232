"""Benchmarks: each module of this folder has ``run() -> list[Result]`` (or of dictionaries of the same fields) and
measures its reference in the same run.
"""
