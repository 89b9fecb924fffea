"""Files: written whole or not at all, read only when complete, and the tools that look at them."""
