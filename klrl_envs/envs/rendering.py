"""Pictures of a lane: text for terminals, pixels for videos, a window for the curious."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs.envs.engine import Engine

WIDTH, MARGIN, LINE = 640, 16, 22
COLUMNS = 68


def as_text(engine: Engine, lane: int) -> str:
    """The grid or the text of a lane; ``|`` parts the prompt from what was written."""
    exact = engine.task.exact
    if exact is not None and exact.describe is not None:
        return exact.describe(int(engine.state[lane]))
    prompt, written = parts(engine, lane)
    return f"{prompt}|{written}" if prompt else written


def parts(engine: Engine, lane: int) -> tuple[str, str]:
    """The prompt's text and the text written so far."""
    task = engine.task
    first = int(engine.prompt_lengths()[lane])
    row = engine.tokens[lane, : engine.length[lane]]
    return task.parts(row[:first], row[first:])


def as_pixels(engine: Engine, lane: int, reward: float | None = None) -> NDArray[np.uint8]:
    """An image uint8 [H, W, 3]: the grid, or the text with its prompt in grey and tokens and reward below."""
    task = engine.task
    if task.exact is not None and task.exact.draw is not None:
        return task.exact.draw(int(engine.state[lane]))
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(16)
    most_lines = 2 + task.max_length * 8 // COLUMNS + task.reply_room // 8  # a reply begins a line
    image = Image.new("RGB", (WIDTH, 2 * MARGIN + LINE * (most_lines + 2)), "white")
    pen = ImageDraw.Draw(image)
    prompt, written = parts(engine, lane)
    count = len(prompt)
    for number, (line, size) in enumerate(wrapped(prompt + written)[:most_lines]):
        grey = min(max(count, 0), len(line))
        place = (MARGIN, MARGIN + number * LINE)
        pen.text(place, line[:grey], fill="#888888", font=font)
        pen.text((MARGIN + pen.textlength(line[:grey], font), place[1]), line[grey:], fill="black", font=font)
        count -= size
    footer = f"{int(engine.time[lane])} of {task.horizon} tokens"
    if reward is not None:
        footer += f"   reward {reward:.3f}"
    pen.text((MARGIN, image.height - MARGIN - LINE), footer, fill="#2f5fd0", font=font)
    return np.asarray(image)


def wrapped(text: str) -> list[tuple[str, int]]:
    """The lines of a text as they fit, and how many of its characters each takes."""
    lines: list[tuple[str, int]] = []
    for turn in text.split("\n"):
        pieces = textwrap.wrap(turn, COLUMNS, drop_whitespace=False) or [""]
        lines += [(piece, len(piece)) for piece in pieces[:-1]]
        lines.append((pieces[-1], len(pieces[-1]) + 1))
    return lines


class Window:
    """A window that shows frames, by pygame (``pip install 'klrl-envs[window]'``).

    Raises:
        ImportError: pygame is not installed.
    """

    def __init__(self, title: str, frames_per_second: int) -> None:
        try:
            import pygame
        except ImportError:
            raise ImportError(
                "render_mode='human' needs pygame: pip install 'klrl-envs[window]'; "
                "render_mode='rgb_array' and 'ansi' work without it"
            ) from None
        self._pygame: Any = pygame
        self._rate = frames_per_second
        pygame.display.init()
        pygame.display.set_caption(title)
        self._clock = pygame.time.Clock()
        self._surface: Any = None

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Show one frame and wait for its time to pass."""
        pixels = frame.transpose(1, 0, 2)
        if self._surface is None:
            self._surface = self._pygame.display.set_mode(pixels.shape[:2])
        self._pygame.surfarray.blit_array(self._surface, pixels)
        self._pygame.event.pump()
        self._pygame.display.flip()
        self._clock.tick(self._rate)

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()
