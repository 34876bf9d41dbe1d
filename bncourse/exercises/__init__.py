"""Exercises with checks that say what is wrong, one module for each chapter.

`from bncourse.exercises.normalization import check` gives the checks of a chapter: `check.NAME(answer)`.
"""
