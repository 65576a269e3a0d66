"""What the decoding of JSON that came from elsewhere may raise."""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of a decoder. The last two are no DecodeErrors: bytes that are no UTF-8 inside a text, and brackets in
brackets, some thousand deep, which few kilobytes can hold."""
