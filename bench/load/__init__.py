"""Servers and load of benchmarks that speak HTTP."""
