"""Figures of a study as SVG and PNG."""
