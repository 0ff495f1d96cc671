"""What a workspace does where MoEngage's documents leave a choice, or MoEngage raises a limit."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The switches of one workspace; the defaults are what MoEngage documents today.

    :param users_per_minute: users a sliding minute takes; ``None`` lifts the limit
        (MoEngage API reference, Rate Limits: 60,000).
    :param events_per_minute: events a sliding minute takes, one per action; ``None`` lifts the limit.
    :param body_limit: bytes a bulk request's body may have, envelope included (Bulk Import: 100 kB);
        ``None`` lifts it.
    :param body_limit_status: what a body over ``body_limit`` is answered with.
    :param hard_body_limit: bytes any Data API body may have (Data API overview: 128 KB); ``None`` lifts it.
    :param hard_body_limit_status: what a body over ``hard_body_limit`` is answered with.
    :param failures_as_200: answer refused bulk bodies with HTTP 200 instead of 400: the Bulk Import page says
        that all bulk requests return 200.
    :param test_connection_errors_as_200: answer a failed Test Connection with HTTP 200 and
        ``"status": "error"``.
    :param reset_header: reading of ``x-ratelimit-reset``: seconds left, or UTC epoch seconds. Both are
        documented.
    :param retry_after: the ``Retry-After`` header of a 429: absent, in seconds, or an HTTP date.
    :param envoy: a 429 carries ``x-envoy-ratelimited: true`` and no ``x-ratelimit-*`` header.
    :param identifiers: attributes that identify a user without ``customer_id`` (User Identity Resolution);
        empty: the workspace has none, and every customer needs an id.
    :param keep_elements: accepted elements kept for looking at; ``None`` keeps all, 0 none.
    :param keep_requests: request records kept; ``None`` keeps all, 0 none.
    """

    users_per_minute: int | None = 60_000
    events_per_minute: int | None = 60_000
    body_limit: int | None = 100_000
    body_limit_status: int = 400
    hard_body_limit: int | None = 131_072
    hard_body_limit_status: int = 413
    failures_as_200: bool = False
    test_connection_errors_as_200: bool = False
    reset_header: Literal["seconds", "epoch"] = "seconds"
    retry_after: Literal["none", "seconds", "date"] = "none"
    envoy: bool = False
    identifiers: tuple[str, ...] = ()
    keep_elements: int | None = 100_000
    keep_requests: int | None = 10_000

    def __post_init__(self) -> None:
        for name in ("users_per_minute", "events_per_minute", "body_limit", "hard_body_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value!r}: expected a whole number above 0, or None to lift the limit")
        for name in ("keep_elements", "keep_requests"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} {value!r}: expected 0 or more, or None to keep all")
        for name in ("body_limit_status", "hard_body_limit_status"):
            value = getattr(self, name)
            if not 200 <= value <= 599:
                raise ValueError(f"{name} {value!r}: expected an HTTP status from 200 to 599")

    def changed(self, /, **changes: Any) -> Settings:
        """Return these settings with ``changes`` applied.

        :raises ValueError: for a setting that doesn't exist, or a value it can't have.
        """
        try:
            return msgspec.convert(msgspec.structs.asdict(self) | changes, Settings)
        except msgspec.ValidationError as error:
            raise ValueError(f"settings: {error}") from error
