"""What a trained net has learned, in numbers: one file per explanation, one row each in `registry.py`."""
