"""Benchmarks against what the provider replaces: `make bench` runs all, `make bench ONLY=encode` one part.

`__main__` runs the parts below, each in its own process, and writes one table:

| module | what it measures |
|---|---|
| `encode` | rows and elements to request bodies: elements per second, and how full the bodies are |
| `end_to_end` | rows per second from SQLite and PostgreSQL to an HTTP server |
| `pacing` | time and 429s at MoEngage's documented limit, and the CPU time used |
| `memory` | peak memory by the number of rows |
| `imports` | what importing the operators adds to a Dag file |
| `polling`, `sharing` | waiting for file imports; several workers in one workspace: short versions |

They share `data` (rows and elements), `rivals` (how people send them without the provider), `pipeline` (the only
module that uses the provider's internals), `loopback` (the server), `warehouse` (Airflow connections), `table` and
`plot`. `make bench-polling` and `make bench-sharing` run the long versions.
"""
