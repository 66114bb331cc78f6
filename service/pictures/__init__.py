"""Explanations as pictures: one file each, drawn by matplotlib from the very JSON that the API answers with.

Nothing here is imported before the first picture is asked for: matplotlib takes a second.
"""
