"""What bodies look like: strict models for what comes in, descriptions for what goes out."""
