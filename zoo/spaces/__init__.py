"""Search spaces: settings and declared choices."""
