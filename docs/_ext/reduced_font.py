"""The site's font of formulas from that of the STIX project: python docs/_ext/reduced_font.py STIXTwoMath-Regular.ttf

Only the characters that formulas use are kept. The tall forms of the radical become as wide as the usual one: browsers
reserve the width of the widest form behind every root.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fontTools import subset
from fontTools.ttLib import TTFont

OUTPUT = Path(__file__).resolve().parent.parent / "_static" / "stix-two-math.woff"
CHARACTERS = (
    "20-7E,A0,A8,AF,B1,B4,B7,D7,131,237,2C6,2C7,2D8,2D9,2DC,302-305,307,391-3D6,3F0-3F5,2010-2015,2016,2018-2019,201C-201D,2026,2032-2034,2061,2102,210E,"
    "2113,2115,211D,2124,2190-2194,21A6,2200-2213,2215-221E,2223,2225,2227-222D,223C,2243-2248,2254,225D,2260-2265,226A,226B,"
    "2282-2287,2297,22A4,22A5,22C5,22C6,22EE-22F1,2308-230B,27E8,27E9,1D434-1D467,1D538-1D551,1D6E2-1D71B"
)
RADICAL = 0x221A


def tall_radicals(font: TTFont) -> list[str]:
    """The names of the tall forms of the radical, and of the parts of still taller ones."""
    variants: Any = font["MATH"].table.MathVariants
    usual = font.getBestCmap()[RADICAL]
    made = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(usual)]
    forms = [form.VariantGlyph for form in made.MathGlyphVariantRecord] + [
        p.glyph for p in made.GlyphAssembly.PartRecords
    ]
    return [name for name in forms if name != usual]


def narrowed(font: TTFont, name: str, width: int) -> None:
    """Scale a glyph to this width."""
    advance, bearing = font["hmtx"][name]
    glyph = font["glyf"][name]
    glyph.expand(font["glyf"])
    glyph.coordinates.scale((width / advance, 1.0))
    glyph.coordinates.toInt()
    glyph.recalcBounds(font["glyf"])
    font["hmtx"][name] = (width, round(bearing * width / advance))


def main() -> None:
    """Write the font of the site."""
    options = subset.Options(flavor="woff", hinting=False, layout_features=["ssty", "dtls"])
    font = subset.load_font(sys.argv[1], options)
    reducer = subset.Subsetter(options)
    reducer.populate(unicodes=subset.parse_unicodes(CHARACTERS))
    reducer.subset(font)
    width = font["hmtx"][font.getBestCmap()[RADICAL]][0]
    for name in tall_radicals(font):
        narrowed(font, name, width)
    subset.save_font(font, OUTPUT, options)


if __name__ == "__main__":
    main()
