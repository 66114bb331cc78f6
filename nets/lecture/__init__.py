"""The lecture behind this project as rows: each says a thing and computes its numbers with the product's own parts."""
