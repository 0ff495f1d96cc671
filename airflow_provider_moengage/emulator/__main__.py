"""``python -m airflow_provider_moengage.emulator``: the same as the command ``moengage-emulator``."""

from __future__ import annotations

import sys

from airflow_provider_moengage.emulator.cli import main

sys.exit(main())
