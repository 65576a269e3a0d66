"""Fields of a form or of a query, as text."""

from __future__ import annotations

from urllib.parse import parse_qsl

import anyio
from starlette.requests import Request

_MOST_FIELDS = 50
_PATIENCE_S = 10.0


async def form_of(request: Request) -> dict[str, str]:
    """The fields that were posted; the last one of a name counts. No fields where they cannot be read."""
    try:
        with anyio.fail_after(_PATIENCE_S):
            text = (await request.body()).decode("utf-8")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except (ValueError, TimeoutError):
        return {}
