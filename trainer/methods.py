"""The names of the ways to learn a product, apart from all that needs torch."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["simplenet", "patchcore", "anoco"]
METHODS: tuple[Method, ...] = get_args(Method)
