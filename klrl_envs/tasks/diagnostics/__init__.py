"""Environments that test one property each."""
