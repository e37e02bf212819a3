"""The page: one HTML file that asks nothing of any server; all that comes from outside is text, never markup."""

from __future__ import annotations

import base64
import html
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from deploy.report.content import ReportContent
from deploy.report.media import PlayableMedia
from operators.interface import EMOTIONS

EMBEDDED_BYTES: Final = 24 << 20
"""Media up to this size are in the page itself, where they take a third more; larger ones lie beside it."""


def write_page(content: ReportContent, media: PlayableMedia | None, target: Path) -> Path | None:
    """Writes the page, and large media in a file beside it, whose path it gives. Raises `OSError`."""
    beside, address = None, ""
    if media is not None and media.path.stat().st_size <= EMBEDDED_BYTES:
        address = f"data:{media.media_type};base64,{base64.b64encode(media.path.read_bytes()).decode()}"
    elif media is not None:
        beside = target.with_suffix(media.path.suffix)
        shutil.move(media.path, beside)
        address = quote(beside.name)
    target.touch(mode=0o600)  # as a recording is: it may hold faces and words
    target.write_text(page(content, address), encoding="utf-8")
    return beside


def page(content: ReportContent, media: str = "") -> str:
    """The page's HTML; `media` is the address of what is played, a data URI or a file beside the page."""
    data = {"content": content, "media": media, "emotions": EMOTIONS}
    # Inside of a script element nothing but "</script" and "<!--" means anything.
    text = msgspec.json.encode(data).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    template = files("deploy.report").joinpath("page.html").read_text(encoding="utf-8")
    parts = {"title": html.escape(content.source), "data": text}
    return re.sub(r"\{\{(title|data)\}\}", lambda match: parts[match[1]], template)
