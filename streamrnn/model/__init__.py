"""Networks as Python sees them: layers, readouts, optimisers, and what one does with them."""
