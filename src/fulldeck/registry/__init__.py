"""The registry: versions of the model, which of them serves, the gate between, and the way back."""
