"""Pages from templates: everything that an entry says is escaped, nothing runs but the board's own script.

Entries are written by strangers. Jinja escapes text and attributes; data for the script is JSON in which no
``<`` stands; an address is linked where it is http(s) or a path of the repository; and the policy in the
head of each page names the digest of the one script that a browser may run, and allows no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from klrl_envs.results.look import Style
from leaderboard.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from leaderboard.folder import FOLDER

TEMPLATES = FOLDER / "templates"
SHAPES = {
    "o": "M-1,0A1,1 0 1 1 1,0A1,1 0 1 1 -1,0Z",
    "s": "M-.9,-.9H.9V.9H-.9Z",
    "^": "M0,-1.15L1.1,.85H-1.1Z",
    "v": "M0,1.15L1.1,-.85H-1.1Z",
    "D": "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "P": "M-.4,-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "X": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z",
    "h": "M0,-1.15L1,-.58V.58L0,1.15L-1,.58V-.58Z",
    "*": "M0,-1.4L.34,-.46L1.33,-.43L.54,.17L.82,1.13L0,.56L-.82,1.13L-.54,.17L-1.33,-.43L-.34,-.46Z",
}
"""The shapes of ``klrl_envs.results.look`` as SVG paths around 0 of radius 1."""
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_./-]*")


def render(template: str, /, **values: Any) -> str:
    """The text of a page."""
    return _environment().get_template(template).render(**values)


def markdown_html(text: str, deeper: int = 0) -> str:
    """Markdown as HTML, in which HTML of its own stays text; headings so many levels deeper."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("js-default")
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1:]) + deeper}"
    return reader.renderer.render(tokens, reader.options, {})


def code_url(url: str | None, root: str) -> str | None:
    """Where an agent's code is linked to; None where that may not, or cannot, be a link.

    Args:
        url: http(s), or a path of the repository.
        root: what leads there, an address or "../"; "" where a page does not know.
    """
    if url is None:
        return None
    if urlsplit(url).scheme in ("http", "https"):
        return url
    return root + url if root and _PATH.fullmatch(url) else None


def style_of(style: Style) -> dict[str, str]:
    """A colour, and a shape as a path."""
    return {"colour": style[0], "shape": SHAPES[style[1]]}


@cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("leaderboard.build needs jinja2: pip install 'klrl-envs[plots]'") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = (TEMPLATES / "board.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    markup = environment.filters["safe"]
    environment.globals.update(
        script=markup(script),
        css=markup((TEMPLATES / "board.css").read_text(encoding="utf-8")),
        policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        shapes=SHAPES,
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
    )
    return environment
