"""What every part stands on: files written whole, devices, dtypes, messages of errors."""
