"""The report stage: one self-contained page of a finished study, report.html."""

from pipeline.report.page import run as run
