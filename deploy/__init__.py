"""Affectstream's runtimes: the session engine, inline and cluster deployment, command line, benchmarks."""
