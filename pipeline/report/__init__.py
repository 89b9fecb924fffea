"""The report stage: one self-contained page of a finished study, report.html."""

from rnnlimits.report.page import run as run
