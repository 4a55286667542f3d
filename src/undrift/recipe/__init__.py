"""Recipes: what decides a run, written down, checked, and built."""
