"""Tools that build and measure; they are not part of the package."""
