"""Measures: conducts runs, comparisons side by side and confirmations over engine, schedule and store."""
