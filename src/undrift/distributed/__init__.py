"""Several processes that train or sample one model."""
