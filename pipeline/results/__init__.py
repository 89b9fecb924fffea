"""A finished results folder: summary, inspection, comparison, atlas."""
