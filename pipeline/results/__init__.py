"""A results folder looked at: summary, inspection, comparison, atlas."""
