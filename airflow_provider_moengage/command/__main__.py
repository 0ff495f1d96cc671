"""``python -m airflow_provider_moengage.command``: the same as ``moengage``."""

from airflow_provider_moengage.command.cli import main

raise SystemExit(main())
