"""The report: one self-contained page of a finished study."""

from rnnlimits.report.page import run as run
