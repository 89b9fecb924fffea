"""All kinds of draws; another kind is another function in one of these modules."""

from __future__ import annotations

import array_inputs
import csv_files
import damage
import labelled_files
import netcdf_files
import study_files
import whole_runs

__all__ = ["array_inputs", "csv_files", "damage", "labelled_files", "netcdf_files", "study_files", "whole_runs"]
SEED = 7
