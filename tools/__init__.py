"""What builds, and is no part of the package."""
