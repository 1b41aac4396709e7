"""Who may do what: an optional key for everything, another for changing the weights."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass

from fastapi import Request

from cwm_train.serve.errors import ApiError


@dataclass(frozen=True)
class Access:
    """Keys that clients send as ``Authorization: Bearer KEY``; empty ones are not asked for."""

    key: str = ""
    admin_key: str = ""

    def check(self, request: Request) -> None:
        """Raise `ApiError` unless the client may use the server."""
        if self.key and not (_bears(request, self.key) or self._is_admin(request)):
            raise ApiError("wrong or missing API key", "send Authorization: Bearer KEY", status=401)

    def check_admin(self, request: Request) -> None:
        """Raise `ApiError` unless the client may change the weights.

        Without an admin key, only clients on the server's own machine may.
        """
        if self.admin_key:
            if not self._is_admin(request):
                raise ApiError("wrong or missing admin key", "send the admin key", status=401)
        elif not _is_local(request):
            raise ApiError(
                "weights are changed from the server's own machine only",
                "start the server with admin_key_env=NAME and send that key",
                status=403,
            )

    def _is_admin(self, request: Request) -> bool:
        return bool(self.admin_key) and _bears(request, self.admin_key)


def _bears(request: Request, key: str) -> bool:
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {key}".encode())


def _is_local(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
