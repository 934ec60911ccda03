"""Findings of papers, measured again: one command each."""
