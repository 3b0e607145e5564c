"""Read the project's pages: their tables, their links, their blocks of code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


class Table(NamedTuple):
    """A table, and the heading that it stands under."""

    heading: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def prose(text: str) -> str:
    return FENCE.sub("", text)


def commands(text: str) -> str:
    """Everything that a page shows as something to type: inline code and shell blocks."""
    shell = [block for language, block in FENCE.findall(text) if language == "sh"]
    return "\n".join([*_CODE.findall(prose(text)), *shell])


def tables(text: str) -> list[Table]:
    found: list[Table] = []
    heading, inside = "", False
    for line in prose(text).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        cells = tuple(cell.strip() for cell in line.strip("|").split("|")) if line.startswith("|") else ()
        if cells and not inside:
            found.append(Table(heading, cells, []))
        elif cells and set("".join(cells)) - set("-"):
            found[-1].rows.append(cells)
        inside = bool(cells)
    return found


def rows(name: str, *columns: str) -> list[tuple[str, ...]]:
    return [row for table in tables(page(name)) if table.columns == columns for row in table.rows]


def code_in(cell: str) -> list[str]:
    return _CODE.findall(cell)


def anchors(text: str) -> set[str]:
    """Make the anchors of a page's headings the way GitHub does."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@dataclass(frozen=True)
class Block:
    """A block of Python on a page."""

    page: str
    number: int
    source: str

    def run(self) -> ModuleType:
        module = ModuleType(f"{Path(self.page).stem}_{self.number}")
        exec(compile(self.source, f"{self.page}#{self.number}", "exec"), module.__dict__)  # noqa: S102 - our own page
        return module


def python_blocks() -> Iterator[Block]:
    for path in PAGES:
        sources = [block for language, block in FENCE.findall(path.read_text("utf-8")) if language == "python"]
        yield from (Block(str(path.relative_to(ROOT)), number, source) for number, source in enumerate(sources, 1))
