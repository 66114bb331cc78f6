"""The table of all featurisers: a new one is a file with its row, named here."""

from __future__ import annotations

from collections.abc import Mapping

from nets.features import bag_of_words, color_histogram, hog, raw
from nets.features.featuriser import Featuriser

FEATURISERS: Mapping[str, Featuriser] = {
    row.name: row for row in (raw.ROW, color_histogram.ROW, hog.ROW, bag_of_words.ROW)
}
