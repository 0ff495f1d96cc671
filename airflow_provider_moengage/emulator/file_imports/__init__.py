"""File imports: triggers, run history and details."""

from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile

__all__ = ["FileImport", "ImportFile"]
