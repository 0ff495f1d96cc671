"""The package's metadata, which Airflow reads at startup. Every Airflow process runs this, so it stays light."""

from __future__ import annotations

from typing import Any

from airflow_provider_moengage import __version__, connection_form


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    package = "airflow_provider_moengage"
    integration = "MoEngage"
    return {
        "package-name": "airflow-provider-moengage",
        "name": "MoEngage",
        "description": "`MoEngage <https://www.moengage.com/>`__ customer engagement platform.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://developers.moengage.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [f"{package}.hooks.moengage"]}],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [
                    f"{package}.operators.bulk_import",
                    f"{package}.operators.business_event",
                    f"{package}.operators.file_import",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": integration,
                "python-modules": [f"{package}.sensors.file_import", f"{package}.sensors.users_erased"],
            }
        ],
        "triggers": [{"integration-name": integration, "python-modules": [f"{package}.triggers.file_import"]}],
        "notifications": [f"{package}.notifications.business_event.MoEngageBusinessEventNotifier"],
        "transfers": [
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": integration,
                "python-module": f"{package}.transfers.sql_to_moengage",
            },
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": integration,
                "python-module": f"{package}.transfers.sql_to_moengage_file",
            },
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": integration,
                "python-module": f"{package}.transfers.sql_to_moengage_cohort",
            },
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": integration,
                "python-module": f"{package}.transfers.sql_to_moengage_erasure",
            },
            {
                "source-integration-name": integration,
                "target-integration-name": "Common SQL",
                "python-module": f"{package}.transfers.moengage_campaign_stats",
            },
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": integration,
                "python-module": f"{package}.transfers.moengage_arrival_check",
            },
        ],
        "task-decorators": [
            {
                "name": "moengage_bulk_import",
                "class-name": f"{package}.decorators.bulk_import.moengage_bulk_import_task",
            }
        ],
        "extra-links": [f"{package}.links.dashboard.MoEngageDashboardLink"],
        "connection-types": [
            {
                "connection-type": connection_form.CONNECTION_TYPE,
                "hook-class-name": f"{package}.hooks.moengage.MoEngageHook",
                "hook-name": connection_form.HOOK_NAME,
                "ui-field-behaviour": {
                    "hidden-fields": connection_form.HIDDEN_FIELDS,
                    "relabeling": connection_form.LABELS,
                    "placeholders": connection_form.PLACEHOLDERS,
                },
                "conn-fields": connection_form.EXTRA_FIELDS,
            }
        ],
        "config": {
            "moengage": {
                "description": "Deployment-wide settings of the MoEngage provider.",
                "options": {
                    "rejects_path": {
                        "description": (
                            "Folder for the rejected elements of bulk tasks, unless a task sets its own"
                            " rejects_path: an ObjectStoragePath URI. If empty, rejects are only counted in"
                            " the log. The files contain personal data; set a retention policy for the folder."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@my-bucket/moengage/rejects",
                        "default": "",
                    },
                    "checkpoint_path": {
                        "description": (
                            "Folder where bulk tasks store their progress, so that a retry can resume, unless a"
                            " task sets its own checkpoint_path: an ObjectStoragePath URI that all workers can"
                            " reach. If empty, Airflow 3.3 and later use the task state store; earlier versions"
                            " store nothing. If a task has key_columns, the files contain keys of source rows."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@my-bucket/moengage/checkpoints",
                        "default": "",
                    },
                    "changes_path": {
                        "description": (
                            "Folder where syncs with changed_only store what MoEngage has accepted, unless a task"
                            " sets its own path: an ObjectStoragePath URI that all workers can reach. The files"
                            " contain 24 bytes a user: digests, no IDs and no values."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@my-bucket/moengage/changes",
                        "default": "",
                    },
                    "development_runs_move_watermark": {
                        "description": (
                            "Whether `airflow dags test`, `airflow tasks test` and `dag.test()` move the watermark"
                            " of an incremental sync, as a run on a worker does."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "file_import_requests_per_minute": {
                        "description": (
                            "Maximum requests per minute that one triggerer sends to a workspace's run history,"
                            " for all tasks that wait for its file imports, and the same again to the import"
                            " details. MoEngage allows 50 of each per workspace: divide them among triggerers."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": "20",
                        "default": "40",
                    },
                },
            },
        },
    }
