"""What the provider costs, beside what it replaces: `make bench` runs it all, `make bench ONLY=encode` a part.

`__main__` runs the parts below, each in a process of its own, and writes one table:

| module | what it measures |
|---|---|
| `encode` | rows and elements to request bodies: elements a second, and how full the bodies are |
| `end_to_end` | rows a second from SQLite and PostgreSQL to an HTTP server |
| `pacing` | time and refusals at MoEngage's documented limit, and the CPU it takes |
| `memory` | peak memory by the number of rows |
| `imports` | what a Dag file pays that names the operators |
| `polling`, `sharing` | waiting for file imports; several workers in one workspace: in a short form |

What they share: `data` (rows and elements), `rivals` (how people send them by hand), `pipeline` (the one place
that knows the provider's inner modules), `loopback` (the server), `warehouse` (Airflow connections), `table` and
`plot`. `make bench-polling` and `make bench-sharing` run the long forms.
"""
