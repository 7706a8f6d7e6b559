"""What the torch agents train, apart from how."""
