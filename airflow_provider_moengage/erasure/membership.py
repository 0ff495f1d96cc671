"""Whom a ledger must have, without telling who they are: their number, and a digest with a key.

It is in the XCom of an erasure, and the sensor compares the ledger with it. The key is made of the connection's
API key: without a key, whoever reads an XCom could find out by trial which users a small erasure was about.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SALT = b"members of an erasure"
_ROUNDS = 200_000
"""They take 50 ms, so that nobody finds the API key by trial either."""


@dataclass(frozen=True, slots=True)
class Members:
    """A set of users.

    :param users: how many.
    :param digest: the same for the same users and API key; None if it is not known.
    :param key_digest: the same for the same API key; None if it is not known.
    """

    users: int
    digest: str | None = None
    key_digest: str | None = None

    @classmethod
    def of(cls, users: Iterable[str], api_key: str) -> Members:
        """Return the members of a set.

        :param users: IDs, each once.
        """
        key = hashlib.pbkdf2_hmac("sha256", api_key.encode(), _SALT, _ROUNDS)
        digest = hmac.new(key, digestmod="sha256")
        ordered = sorted(users)
        for user in ordered:
            encoded = user.encode()
            digest.update(b"%d:%s" % (len(encoded), encoded))
        return cls(len(ordered), digest.hexdigest(), hmac.digest(key, _SALT, "sha256").hex()[:16])

    @classmethod
    def from_xcom(cls, given: Mapping[str, Any], users: int) -> Members:
        """Return what :meth:`to_dict` returned.

        :param users: how many they are at least, if an earlier version has made the XCom.
        """
        found = given.get("in_ledger")
        if found is None:
            return cls(users)
        return cls(int(found["users"]), str(found["digest"]), str(found["key_digest"]))

    def to_dict(self) -> dict[str, Any]:
        """Return it for an XCom."""
        return {"users": self.users, "digest": self.digest, "key_digest": self.key_digest}

    def are_others(self, users: Iterable[str], api_key: str) -> bool:
        """Return whether users are not these. With another API key than then, that is not known: False."""
        found = Members.of(users, api_key)
        return self.key_digest == found.key_digest and self.digest != found.digest
