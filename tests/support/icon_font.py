"""The icons that pages use, out of Unfold's font of all Material Symbols: `make icons` writes them anew.

An icon is a ligature: its name, as text, is drawn as a picture. A word of the sources that names one may be an icon of
a page, so every such word is taken: none that a page shows can be forgotten.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import unfold
from fontTools import subset
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parents[2]
UNFOLD = Path(unfold.__file__).parent
ALL_ICONS = UNFOLD / "static/unfold/fonts/material-symbols/Material-Symbols-Outlined.woff2"
ICONS = ROOT / "glyphforge/admin/static/glyphforge/fonts/icons.woff2"
# In quotes, or all that an element says.
WORD = re.compile(r"""["'>]\s*([a-z0-9_]+)\s*["'<]""")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


def names(font: Path) -> dict[str, str]:
    """The icons of a font: name to glyph."""
    with TTFont(font) as opened:
        letters = {glyph: chr(code).lower() for code, glyph in opened.getBestCmap().items()}
        return {
            "".join(letters[part] for part in (first, *ligature.Component)): ligature.LigGlyph
            for lookup in opened["GSUB"].table.LookupList.Lookup
            for table in lookup.SubTable
            for first, ligatures in table.ligatures.items()
            for ligature in ligatures
        }


def used() -> set[str]:
    """The icons that a page may show."""
    words = {word for path in _sources() for word in WORD.findall(path.read_text().replace("\\_", "_"))}
    return words & names(ALL_ICONS).keys()


def _sources() -> Iterator[Path]:
    for app in ("glyphforge", "billing", "monitoring"):
        for path in (ROOT / app).rglob("*"):
            if path.suffix in {".py", ".html", ".js"} and "migrations" not in path.parent.name:
                yield path
    yield from (path for path in UNFOLD.rglob("*") if path.suffix in {".py", ".html"})
    yield UNFOLD / "static/unfold/js/app.js"


def write(target: Path) -> None:
    """Write a font with the icons that are used, and nothing else of Unfold's."""
    options = subset.Options(flavor="woff2", layout_closure=False, hinting=False, glyph_names=False)
    options.drop_tables += ["FFTM"]
    font = subset.load_font(ALL_ICONS, options)
    subsetter = subset.Subsetter(options)
    glyphs = names(ALL_ICONS)
    subsetter.populate(text=LETTERS, glyphs=[glyphs[name] for name in used()])
    subsetter.subset(font)
    subset.save_font(font, target, options)


if __name__ == "__main__":
    write(ICONS)
