"""The command ``moengage-emulator``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_moengage.emulator.server import Emulator

_DEFAULT_PORT = 8123


def main(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until Ctrl-C or SIGTERM, and return the exit status.

    :param argv: arguments; ``None``: those of the process.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        emulator = _emulator(options)
    except ModuleNotFoundError as error:
        print(
            f"moengage-emulator needs {error.name}: pip install 'airflow-provider-moengage[emulator]'",
            file=sys.stderr,
        )
        return 1
    except ValueError as error:
        parser.error(str(error))
    try:
        emulator.start()
    except OSError as error:
        print(
            f"moengage-emulator cannot listen on {options.host} port {options.port}: {error.strerror}. "
            "Choose another port with --port.",
            file=sys.stderr,
        )
        return 1
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(_greeting(emulator), flush=True)
    stop.wait()
    emulator.stop()
    return 0


def _emulator(options: argparse.Namespace) -> Emulator:
    from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent
    from airflow_provider_moengage.emulator.campaigns.definitions import Campaign
    from airflow_provider_moengage.emulator.clock import AcceleratedClock
    from airflow_provider_moengage.emulator.file_imports.definitions import FileImport
    from airflow_provider_moengage.emulator.http import object_id
    from airflow_provider_moengage.emulator.server import Emulator
    from airflow_provider_moengage.emulator.settings import Credentials, Settings

    settings = Settings(
        users_per_minute=options.users_per_minute or None,
        events_per_minute=options.events_per_minute or None,
        reset_header=options.reset_header,
        retry_after=options.retry_after,
        envoy=options.envoy,
        failures_as_200=options.failures_as_200,
        failures_as_400=options.failures_as_400,
        future_events=options.future_events,
        identifiers=tuple(options.identifier),
        file_time_zone=options.time_zone,
        keep_elements=options.keep_elements,
    )
    emulator = Emulator(
        settings,
        credentials=Credentials(options.workspace_id, options.data_api_key, options.campaign_api_key),
        clock=time.time if options.speed == 1 else AcceleratedClock(options.speed),
        host=options.host,
        port=options.port,
        allow=options.allow,
    )
    for name in options.business_event:
        campaign = object_id(f"campaign of {name}")
        emulator.workspace.add_business_event(BusinessEvent(name, attributes=None, campaigns=(campaign,)))
    for argument in options.file_import:
        import_id, _, folder = argument.partition("=")
        emulator.workspace.add_file_import(FileImport(import_id, import_id, folder=folder or None))
    for name in options.campaign:
        emulator.workspace.add_campaign(Campaign(name, status="ACTIVE"))
    return emulator


def _greeting(emulator: Emulator) -> str:
    from airflow_provider_moengage.emulator.dashboard.connection_help import airflow_connection

    credentials, settings = emulator.workspace.credentials, emulator.workspace.settings
    return (
        f"The MoEngage workspace {credentials.workspace_id} is running at {emulator.url} (Ctrl-C to stop).\n"
        f"Connect Airflow with {airflow_connection(credentials, emulator.url)}\n"
        f"Rate limits: {_limit(settings.users_per_minute, 'users')}, "
        f"{_limit(settings.events_per_minute, 'events')}.\n"
        f"Open {emulator.url}/ in a browser to see what arrives."
    )


def _limit(limit: int | None, unit: str) -> str:
    return f"any number of {unit}" if limit is None else f"{limit:,} {unit} a minute"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="moengage-emulator",
        description="Run a MoEngage workspace on your own machine. Nothing leaves it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=_DEFAULT_PORT, help="port to listen on; 0 selects a free one")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="further host name or address by which clients may address the emulator; repeatable",
    )
    parser.add_argument("--workspace-id", default="EMULATOR", help="id of the workspace")
    parser.add_argument("--data-api-key", default="emulator-data-key", help="key for the Data APIs")
    parser.add_argument("--campaign-api-key", default="emulator-campaign-key", help="key for business events")
    parser.add_argument(
        "--users-per-minute",
        type=_count,
        default=60_000,
        metavar="N",
        help="users per minute; 0 for no limit",
    )
    parser.add_argument(
        "--events-per-minute",
        type=_count,
        default=60_000,
        metavar="N",
        help="events per minute; 0 for no limit",
    )
    parser.add_argument(
        "--reset-header", choices=("seconds", "epoch"), default="seconds", help="unit of x-ratelimit-reset"
    )
    parser.add_argument(
        "--retry-after",
        choices=("none", "seconds", "date"),
        default="none",
        help="format of a 429's Retry-After",
    )
    parser.add_argument("--envoy", action="store_true", help="send 429 with only x-envoy-ratelimited")
    parser.add_argument("--failures-as-200", action="store_true", help="refuse bulk requests with HTTP 200")
    parser.add_argument(
        "--failures-as-400", action="store_true", help="answer every failed bulk request with HTTP 400"
    )
    parser.add_argument(
        "--future-events",
        choices=("drop", "refuse"),
        default="drop",
        help="drop events in the future after a 200, or refuse the request",
    )
    parser.add_argument(
        "--identifier",
        action="append",
        default=[],
        metavar="ATTRIBUTE",
        help="attribute that identifies a user without customer_id; repeatable",
    )
    parser.add_argument(
        "--business-event",
        action="append",
        default=[],
        metavar="NAME",
        help="define a business event that accepts any attributes and starts one campaign; repeatable",
    )
    parser.add_argument(
        "--file-import",
        action="append",
        default=[],
        metavar="ID[=FOLDER]",
        help="add a periodic import of users; each run imports one file successfully, or the new files in FOLDER; "
        "repeatable",
    )
    parser.add_argument(
        "--time-zone",
        default="UTC",
        metavar="NAME",
        help="zone in which file imports write their times, which carry none; for example Asia/Kolkata",
    )
    parser.add_argument(
        "--campaign",
        action="append",
        default=[],
        metavar="NAME",
        help="add a push campaign that runs every day, so that statistics can be read; repeatable",
    )
    parser.add_argument(
        "--keep-elements", type=_count, default=100_000, metavar="N", help="number of accepted elements to keep"
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="N",
        help="run the emulator's clock N times as fast",
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, 0 or more")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0, at most 1,000,000")
    return speed
