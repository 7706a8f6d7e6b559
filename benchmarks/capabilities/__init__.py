"""What every baseline can and cannot do, one property at a time."""
